"""The plans: what is trained, in which order, and that any beginning of it fills the space."""

from __future__ import annotations

from collections import Counter

import pytest
from recorded_points import CHOICES, PLANS, RANGES, drawn, grid, with_second_seeds

from orchestrator.space.parameters import read_parameter


def test_the_grid_is_every_combination_once():
    points = {tuple(point.values()) for point in grid()}
    assert len(grid()) == len(points) == 40
    assert PLANS["grid"].ranges == {}


def test_drawn_points_lie_in_their_ranges_and_begin_alike():
    points = drawn(64)
    assert points[:10] == drawn(10)
    for key, spec in RANGES.items():
        parameter = read_parameter(key, {kind: list(ends) for kind, ends in spec.items()})
        values = [point[key] for point in points]
        assert all(parameter.contains(value) for value in values)
        assert len(set(values)) > 60
    # The middle of the ranges comes first: half a Sobol step in each.
    assert points[0]["optimizer.lr"] == pytest.approx((5e-4 * 1.6e-2) ** 0.5, rel=1e-3)
    assert points[0]["loss.threshold_weight"] == 10.0


@pytest.mark.parametrize("count", [16, 32, 64, 120])
def test_every_beginning_has_all_choices_equally_often(count):
    for key, values in CHOICES.items():
        counts = Counter(point[key] for point in drawn(count))
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 2
    pairs = Counter((p["model.backbone"], p["data.longest_side_px"]) for p in drawn(count))
    assert len(pairs) == 8


def test_second_seeds_follow_their_points_and_are_of_all_kinds():
    tasks = with_second_seeds([{"n": i} for i in range(12)], 3)
    assert [(task.point["n"], task.seed) for task in tasks] == [
        *((0, 0), (1, 0), (2, 0), (1, 1)),
        *((3, 0), (4, 0), (5, 0), (3, 1)),
        *((6, 0), (7, 0), (8, 0), (8, 1)),
        *((9, 0), (10, 0), (11, 0), (10, 1)),
    ]
    plan = PLANS["drawn"]
    again = [task for task in plan.tasks if task.seed]
    assert (len(plan.tasks), len(again)) == (140, 20)
    for task in again:
        before = plan.tasks[: plan.tasks.index(task)]
        assert any(other.point == task.point and other.seed == 0 for other in before)
    for key, values in CHOICES.items():
        assert {task.point[key] for task in again} == set(values)
