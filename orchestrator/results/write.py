"""The files that follow a search: the leaderboard, and the best detector in `best/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from detector.core.folders import copy_folder, of_one_generation
from orchestrator.results.leaderboard import write_leaderboard
from orchestrator.results.ranking import best
from orchestrator.trials.pareto import SCORE_AND_SIZE, Objectives
from orchestrator.trials.records import TrialRecord

BEST = "best"  # in a run's folder


def write_results(
    folder: Path,
    records: Sequence[TrialRecord],
    parameters: Sequence[str],
    objectives: Objectives = SCORE_AND_SIZE,
) -> TrialRecord | None:
    """Write the leaderboard, and the best trial's weights and config to `best/`.

    Returns that trial where `best/` has other files now.
    """
    write_leaderboard(folder, records, parameters, objectives)
    top = best(records)
    if top is None or top.checkpoint is None or not (folder / top.checkpoint).is_dir():
        return None
    return top if copy_best(folder / top.checkpoint, folder / BEST) else None


def copy_best(source: Path, target: Path) -> bool:
    """Make `target` a copy of `source`, of which one epoch wrote all files; whether it was none."""
    if target.is_dir() and _files(source) == _files(target):
        return False
    copy_folder(source, target)
    return True


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of change of a folder's files (copies keep them all)."""

    def listing() -> list[tuple[str, int, int]]:
        found = [(e.name, e.stat()) for e in os.scandir(folder) if not e.name.startswith(".")]
        return sorted((name, s.st_size, s.st_mtime_ns) for name, s in found)

    return of_one_generation(folder, listing)
