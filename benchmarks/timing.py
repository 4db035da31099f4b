"""What the benchmarks share: options from the command line and times of calls in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from detector.config.cli import guarded, parse_arguments, wants_help
from detector.core.errors import InputError


def run(
    main: Callable[[dict[str, Any]], int | None], defaults: Mapping[str, Any], usage: str
) -> None:
    """Call `main` with the options and exit with what it returns: 2 for a wrong option, and why.

    `usage` is what `--help` prints, the module's docstring.
    """
    if wants_help(sys.argv[1:]):
        print(usage)
        raise SystemExit(0)
    raise SystemExit(guarded(lambda: main(options(sys.argv[1:], defaults))))


def options(arguments: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`defaults` with the `key=value` arguments in place of them, each in its default's type.

    Whole numbers must be positive; a default of None takes text. Raises InputError for an
    argument that is not `key=value`, an unknown key and a value that is not of its type.
    """
    given = parse_arguments(arguments)
    unknown = [key for key in given if key not in defaults]
    if unknown:
        raise InputError(f"{unknown[0]}: no such option; there are {', '.join(defaults)}")
    return dict(defaults) | {key: _value(key, text, defaults[key]) for key, text in given.items()}


def _value(key: str, text: Any, default: Any) -> Any:
    if isinstance(default, float):
        try:
            return float(text)
        except (TypeError, ValueError):
            raise InputError(f"{key}: must be a number, got {text!r}") from None
    if not isinstance(default, int):
        return text
    try:
        number = int(text)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise InputError(f"{key}: must be a whole number from 1, got {text!r}")
    return number


def best_times(
    calls: Sequence[Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = perf_counter,
) -> list[float]:
    """Seconds of the fastest of `rounds` turns of each call, by `clock`.

    The calls take turns, so that whatever else the machine does meets them all.
    """
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = clock()
            call()
            best[i] = min(best[i], clock() - start)
    return best
