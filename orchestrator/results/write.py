"""The files that follow a search: the leaderboard, and the best detector in `best/`."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from orchestrator.results.leaderboard import best, write_leaderboard
from orchestrator.trials.pareto import SCORE_AND_SIZE, Objectives
from orchestrator.trials.records import TrialRecord


def write_results(
    folder: Path,
    records: Sequence[TrialRecord],
    parameters: Sequence[str],
    objectives: Objectives = SCORE_AND_SIZE,
) -> None:
    """Write the leaderboard, and the best trial's weights and config to `best/`."""
    write_leaderboard(folder, records, parameters, objectives)
    top = best(records)
    if top is not None and top.checkpoint is not None and (folder / top.checkpoint).is_dir():
        copy_best(folder / top.checkpoint, folder / "best")


def copy_best(source: Path, target: Path) -> None:
    """Make `target` a copy of `source`: whole, old or new, whenever a reader opens it."""
    if target.is_dir() and _same(source, target):
        return
    fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.new")
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    try:
        shutil.copytree(source, fresh)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, by size and time (copies keep both)."""

    def listing(folder: Path) -> list[tuple[str, int, int]]:
        entries = [(e.name, e.stat()) for e in os.scandir(folder)]
        return sorted((name, s.st_size, s.st_mtime_ns) for name, s in entries)

    return listing(one) == listing(other)
