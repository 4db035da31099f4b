"""Thousands of broken and hostile inputs for every reader of files that others may have written.

`python benchmarks/fuzz.py [examples=10000] [seed=1] [only=coco]` prints a table: how many inputs
a reader was given, how many it refused with one clean message that names the file, how many it
took, and how many ended in anything else, which is a bug and is shown. Exit code 1 with such.
Readers are the formats of labels, results and predictions, search spaces and checkpoints.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import fuzz_labels
import fuzz_programs
import torch
from fuzz_inputs import require_clean
from timing import run

from detector.core.errors import InputError

DEFAULTS = {"examples": 10_000, "seed": 1, "only": None}
TARGETS = fuzz_labels.TARGETS | fuzz_programs.TARGETS
# Of the process's own time, for one input: a file that is doubled often may have a megabyte.
LIMIT_S, LIMIT_S_PER_MB = 2.0, 4.0


@dataclass
class Counts:
    """What became of the inputs of one reader; `others` are the errors that are not clean."""

    inputs: int = 0
    refused: int = 0
    taken: int = 0
    others: list[str] = field(default_factory=list)


class EndlessError(BaseException):
    """Reading took longer than the limit. No reader takes it for an error of its own."""


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Raise EndlessError where the body takes longer than an input of `size` bytes may."""
    limit = LIMIT_S + LIMIT_S_PER_MB * size / 1e6

    def stop(*_: object) -> None:
        raise EndlessError(f"more than {limit:.3g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def bytes_of(content: Any) -> int:
    """How large an input is, files in it together."""
    if isinstance(content, tuple | list):
        return sum(map(bytes_of, content))
    return len(content) if isinstance(content, bytes) else 0


def fuzz(name: str, folder: Path, *, examples: int, seed: int) -> Counts:
    """Give one reader so many inputs, the same ones for the same seed."""
    target, counts = TARGETS[name](folder), Counts()
    with suppress(Exception):
        target.read(target.make(Random(seed)))  # the first imports what it needs, which takes time
    for number in range(examples):
        content = target.make(Random(f"{seed} {name} {number}"))
        counts.inputs += 1
        try:
            try:
                with limited(bytes_of(content)):
                    target.read(content)
                counts.taken += 1
            except InputError as error:
                require_clean(error, target.names)
                counts.refused += 1
        except (Exception, EndlessError) as error:  # whatever it is, it is what is looked for
            counts.others.append(f"{type(error).__name__}: {error!s:.200} from {content!r:.400}")
    return counts


def main(options: dict[str, Any]) -> int:
    """Print the table, a row for each reader; 1 when some input ended in anything but its two."""
    only = options["only"]
    if only is not None and only not in TARGETS:
        raise InputError(f"only: there is no reader {only!r}; there are {', '.join(TARGETS)}")
    torch.set_num_threads(1)
    wrong = 0
    print(f"{'reader':<20}{'inputs':>8}{'clean errors':>14}{'taken':>8}{'anything else':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for name in TARGETS if only is None else [only]:
            place = Path(folder) / name
            place.mkdir()
            os.chdir(place)  # a space may be named by a path from here
            counts = fuzz(name, place, examples=options["examples"], seed=options["seed"])
            figures = counts.inputs, counts.refused, counts.taken, len(counts.others)
            print(f"{name:<20}{figures[0]:>8}{figures[1]:>14}{figures[2]:>8}{figures[3]:>15}")
            for text in sorted(set(counts.others), key=len)[:10]:
                print(f"  {text}")
            sys.stdout.flush()
            wrong += len(counts.others)
    return int(wrong > 0)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
