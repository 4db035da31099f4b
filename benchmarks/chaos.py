"""Does a search lose anything, whatever dies? Random faults on real searches, for some minutes.

`python benchmarks/chaos.py [seed=1] [minutes=60] [faults=disk]` starts one search after another,
each in processes of its own with its own Ray, hurts it by faults drawn by `seed`, resumes it and
reads from its files whether anything was lost: each configuration is over exactly once, study and
leaderboard agree, none is running, what was over has not changed, no epoch was trained twice but
those that a fault cut off, and the weights are those of a search without a fault. `faults` keeps
the kinds whose name contains it. The last output is a table; exit code 1 when something was lost.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from chaos_faults import FAULTS, Fault
from chaos_runs import Run
from timing import run as run_command

from detector.config.cli import log
from detector.core.errors import InputError, JobError

DEFAULTS = {"seed": 1, "minutes": 60, "faults": None}


@dataclass(frozen=True)
class Outcome:
    """What one search came through; `lost` says what it did not."""

    kind: str
    injected: int
    seconds: float
    lost: tuple[str, ...]


def main(options: dict[str, Any]) -> None:
    kinds = chosen(options["faults"])
    random, deadline = Random(options["seed"]), time.monotonic() + 60 * options["minutes"]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        while time.monotonic() < deadline:
            # Each kind once, in random order, and again: a short loop sees them all too.
            for kind in random.sample(sorted(kinds), len(kinds)):
                if outcomes and time.monotonic() >= deadline:
                    break
                seed = random.getrandbits(32)
                base = Path(name) / f"{len(outcomes):04d}"
                outcomes.append(injected(kind, kinds[kind], Run(base), Random(seed)))
                tell(outcomes[-1], seed)
    print(table(outcomes, options))
    if any(o.lost for o in outcomes):
        raise JobError("something was lost; the lines above say what")


def chosen(part: str | None) -> dict[str, Fault]:
    """The kinds of faults with `part` in their name that this machine can have."""
    small_disks = sys.platform == "linux" and os.geteuid() == 0
    kinds = {k: f for k, f in FAULTS.items() if k != "disk full" or small_disks}
    if not small_disks:
        log("disk full: left out, since only root on Linux may mount a small file system")
    found = {k: f for k, f in kinds.items() if part is None or part in k}
    if not found:
        raise InputError(f"faults: {part!r} is in no name of a fault; there are {', '.join(kinds)}")
    return found


def injected(
    kind: str, fault: Fault, run: Run, random: Random, clock: Callable[[], float] = time.monotonic
) -> Outcome:
    """One search under one kind of fault; what ends this in an unforeseen way is a loss too."""
    started = clock()
    try:
        count, lost = fault(run, random)
    except (OSError, TimeoutError, AssertionError, ValueError, LookupError) as error:
        count, lost = 1, [f"{type(error).__name__}: {error}"]
    finally:
        run.end()
    return Outcome(kind, count, clock() - started, tuple(lost))


def tell(outcome: Outcome, seed: int) -> None:
    """A line for each search, and one for each loss."""
    verdict = "LOST" if outcome.lost else "nothing lost"
    log(
        f"{time.strftime('%H:%M:%S')} {outcome.kind}: {outcome.injected} faults, {verdict}, "
        f"{outcome.seconds:.0f} s (its seed {seed})"
    )
    for line in outcome.lost:
        log(f"  lost: {line}")


def table(outcomes: Sequence[Outcome], options: Mapping[str, Any]) -> str:
    """Markdown for docs/reliability.md."""
    given = " ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    lines = [
        f"`benchmarks/chaos.py {given}`, {sum(o.seconds for o in outcomes) / 60:.0f} minutes:",
        "",
        "| fault | searches | faults injected | survived | lost |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(o.kind for o in outcomes):
        lines.append(_row(kind, [o for o in outcomes if o.kind == kind]))
    return "\n".join([*lines, _row("together", outcomes)])


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    injected = sum(o.injected for o in outcomes)
    survived = sum(o.injected for o in outcomes if not o.lost)
    lost = sum(len(o.lost) for o in outcomes)
    return f"| {name} | {len(outcomes)} | {injected} | {survived} | {lost} |"


if __name__ == "__main__":
    run_command(main, DEFAULTS, __doc__ or "")
