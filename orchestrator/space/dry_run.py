"""What a search would do, for a person to read before it starts: nothing is run or written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

import optuna
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.config.answer import answer
from detector.core.errors import InputError
from detector.core.escape import printable, printable_lines
from orchestrator.space.search_space import SearchSpace

SHOWN = 10  # sampled configurations
CHECKED = 200  # drawn in all: an invalid configuration may be rare
Point = dict[str, Any]
Rungs = Sequence[tuple[int, Fraction]]


def show(
    space: SearchSpace, *, seed: int, rungs: Rungs, cost: str | None, console: Console
) -> None:
    """Print the space, its budget, and the configurations that a search begins with.

    The warm starts come first, then random points, the same ones for the same seed. `cost`
    is a line for the end. `rungs` are epochs at which trials are compared, and the share of those
    there that goes on. Raises InputError when the space holds a configuration, among
    CHECKED random ones, that the detector refuses.
    """
    points = list(islice(draws(space, seed), len(space.warm_start) + CHECKED))
    _print(console, f"{space.name}: {space.description}".rstrip(": "))
    console.print(_searched(space))
    if space.fixed or space.demo:
        console.print(_fixed(space))
    budget = space.budget
    _print(
        console,
        f"budget: {budget.trials} trials of up to {budget.epochs} epochs; {_in_words(rungs)}",
    )
    check(space, points)
    warm, sampled = points[: len(space.warm_start)], points[len(space.warm_start) :]
    if warm:
        console.print(_warm(space, warm))
    lines = _numbered(map(_line, sampled[:SHOWN]))
    console.print(_table(f"{SHOWN} random points, seed={seed}", lines))
    _print(console, f"{len(points)} configurations were drawn, and the detector takes all of them")
    if cost is not None:
        _print(console, cost)
    shown = {"warm_starts": warm, "random_points": sampled[:SHOWN], "seed": seed, "cost": cost}
    goes_on = [{"epoch": epoch, "share": float(share)} for epoch, share in rungs]
    answer(_values(space) | shown | {"rungs": goes_on})


def _in_words(rungs: Rungs) -> str:
    if not rungs:
        return "all are trained to the end"
    each = [f"{part.numerator} in {part.denominator} after epoch {epoch}" for epoch, part in rungs]
    return f"the best go on: {', '.join(each)}"


def _values(space: SearchSpace) -> dict[str, Any]:
    """What is shown of a space itself, as plain values."""
    return {
        "space": space.name,
        "description": space.description,
        "notes": space.notes,
        "parameters": {
            key: {"kind": p.kind, "values": p.values, "step": p.step, "when": p.when}
            for key, p in space.parameters.items()
        },
        "fixed": space.fixed,
        "demo": space.demo,
        "budget": space.budget.model_dump(),
    }


def draws(space: SearchSpace, seed: int) -> Iterator[Point]:
    """The warm starts, completed where they leave settings open, then random points for ever."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    for point in space.warm_start:
        study.enqueue_trial(dict(point))
    while True:
        yield space.suggest(study.ask())


def check(space: SearchSpace, points: list[Point]) -> None:
    """InputError with a point for every reason for which the detector refuses some."""
    reasons: dict[str, Point] = {}
    refused = 0
    for point in points:
        try:
            space.train_config(point)
        except InputError as error:
            refused += 1
            reasons.setdefault(str(error), point)
    if reasons:
        told = "\n".join(f"{_line(point)}: {reason}" for reason, point in reasons.items())
        raise InputError(
            f"space: {refused} of {len(points)} configurations drawn from {space.name} cannot be "
            f"trained; change the ranges, or search one of the settings only when: another "
            f"allows it\n{told}"
        )


def _searched(space: SearchSpace) -> Table:
    rows = []
    for key, parameter in space.parameters.items():
        between = ", " if parameter.kind == "choice" else " to "
        constant = between == ", " and len(parameter.values) == 1
        kind = "constant" if constant else parameter.kind
        step = f", step {parameter.step}" if parameter.step != 1 else ""
        when = [f"{k} is {' or '.join(map(_exact, some))}" for k, some in parameter.when.items()]
        values = between.join(map(_exact, parameter.values))
        rows.append((key, kind + step, values, " and ".join(when)))
    return _table("searched", rows, "setting", "kind", "values", "only when")


def _fixed(space: SearchSpace) -> Table:
    rows = [(key, _exact(value)) for key, value in space.fixed.items()]
    if space.demo:
        rows.append(("data.root", "synthetic receipts, made when the search starts"))
    return _table("fixed", rows, "setting", "value")


def _warm(space: SearchSpace, points: list[Point]) -> Table:
    title = "warm starts, which run first"
    if len(points) > space.budget.trials:
        title += f"; the budget ends after {space.budget.trials} of {len(points)}"
    lines = []
    for given, point in zip(space.warm_start, points, strict=True):
        drawn = _line({key: value for key, value in point.items() if key not in given})
        kept = _line({key: value for key, value in point.items() if key in given})
        lines.append(kept + (f"; drawn: {drawn}" if drawn else ""))
    return _table(title, _numbered(lines))


def _numbered(lines: Iterable[str]) -> list[tuple[str, ...]]:
    return [(str(number), line) for number, line in enumerate(lines, 1)]


def _table(title: str, rows: Sequence[tuple[str, ...]], *headers: str) -> Table:
    out = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD if headers else box.SIMPLE,
        show_header=bool(headers),
        padding=(0, 1, 0, 0),
    )
    for number, header in enumerate(headers or ("", "")):
        out.add_column(header, no_wrap=number == 0)
    for row in rows:
        out.add_row(*(Text(printable(cell)) for cell in row))
    return out


def _line(point: Mapping[str, Any]) -> str:
    """The point as the command line takes it, real numbers to four digits."""
    return " ".join(
        f"{key}={f'{value:.4g}' if isinstance(value, float) else _exact(value)}"
        for key, value in point.items()
    )


def _exact(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _print(console: Console, line: str) -> None:
    console.print(Text(printable_lines(line)))
