from __future__ import annotations

from typing import Any

import pytest

from detector.data.raw.shapes import hull, outline

SQUARE = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]


@pytest.mark.parametrize(
    "raw",
    [
        [[0, 0], [2, 0], [2, 2], [0, 2]],
        [("0", "0"), ("2", " 0"), (2.0, "2"), (0, "2e0")],
        [0, 0, 2, 0, 2, 2, 0, 2],
        ["0", "0", "2", "0", "2", "2", "0", "2"],
        [{"x": 0, "y": 0}, {"x": "2", "y": 0}, {"X": 2, "Y": 2}, {"x": 0, "y": 2}],
    ],
)
def test_an_outline_however_it_is_written(raw: Any) -> None:
    assert outline(raw) == SQUARE


@pytest.mark.parametrize(
    "raw",
    [None, 3, "0 0 2 0", {"x": 1}, [0, 0, 2], [[0, 0], [2]], [[0, 0], 3], [[0, True]], [{"x": 1}]],
)
def test_what_is_no_outline_is_given_back(raw: Any) -> None:
    assert outline(raw) is raw


def test_the_hull_of_points() -> None:
    assert {tuple(p) for p in hull([*SQUARE, [1.0, 1.0]])} == {(0, 0), (2, 0), (2, 2), (0, 2)}


def test_the_hull_of_a_triangle_is_a_box_around_it() -> None:
    assert {tuple(p) for p in hull([[0, 0], [4, 0], [0, 2]])} >= {(0.0, 0.0), (4.0, 0.0)}
    assert len(hull([[0, 0], [4, 0], [0, 2]])) == 4


@pytest.mark.parametrize("points", [[], [[0, 0], [1, 1]], [[0, 0], [1, 1], [2, 2]], [[0, "x"]], 3])
def test_points_without_area_have_none(points: Any) -> None:
    assert hull(points) is points
