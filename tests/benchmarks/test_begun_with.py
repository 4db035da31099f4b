"""The points that replayed searches begin with."""

from __future__ import annotations

from pathlib import Path

import replay
from begun_with import NOTHING, behind, of_an_earlier_run


def test_points_are_so_far_behind_the_best(drawn_table: Path):
    """Of twelve trainings, the last one best: none and six of them are better."""
    table = replay.read_table(drawn_table)
    assert behind(0.0, 0.5)(table) == [table.configs[11], table.configs[5]]
    assert NOTHING(table) == []


def test_an_earlier_run_gives_the_settings_of_its_best_that_are_searched(drawn_table: Path):
    """The three best of `trainings.npz` have these rates; it knows of no necks."""
    points = of_an_earlier_run(replay.read_table(drawn_table))
    assert points == [{"optimizer.lr": rate} for rate in (0.004, 0.008, 0.002)]
