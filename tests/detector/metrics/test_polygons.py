"""Reading polygons in one go gives what reading them one by one does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.metrics.polygons import MAX_COORDINATE, as_points, read_polygons

numbers = st.one_of(
    st.integers(-50, 50),
    st.floats(-1e3, 1e3),
    st.sampled_from([float("nan"), float("inf"), 10**400, 2.0**31, 2.0**31 + 1, "4", None, "x"]),
)
polygons = st.one_of(
    st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=6),
    st.lists(st.lists(numbers, min_size=1, max_size=3), max_size=5),
    st.lists(st.lists(st.floats(0, 9), min_size=2, max_size=2), min_size=4, max_size=4).map(
        np.array
    ),
)


@examples(200)
@given(content=st.lists(polygons, max_size=6), whole=st.booleans())
def test_all_together_are_read_like_one_by_one(content: Any, whole: Any) -> None:
    read = read_polygons(content, whole=whole)
    assert len(read) == len(content)
    for i, polygon in enumerate(content):
        expected = as_points(polygon)
        assert np.array_equal(read[i], np.rint(expected) if whole else expected)
    chosen = np.arange(len(content))[::-2]
    taken = read.take(chosen)
    assert all(np.array_equal(taken[k], read[i]) for k, i in enumerate(chosen.tolist()))


def test_coordinates_up_to_the_limit_are_read() -> None:
    edge: Any = [[0, 0], [MAX_COORDINATE, 0], [0, MAX_COORDINATE]]
    beyond = np.add(edge, 1)
    assert read_polygons([edge, beyond]).lengths.tolist() == [3, 0]


def test_tables_end_with_the_first_point() -> None:
    content: Any = [[[1, 2], [3, 4], [5, 6]], [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0.5]]]
    read = read_polygons(content)
    table = read.table(np.array([0, 1]), 8)
    assert table[0].tolist() == [[1, 2], [3, 4], [5, 6], *[[1, 2]] * 5]
    assert table[1, 4:].tolist() == [[0, 0.5], *[[0, 0]] * 3]


@pytest.mark.parametrize("content", [[], np.zeros((0, 4, 2))])
def test_no_polygons(content: Any) -> None:
    read = read_polygons(content)
    assert (len(read), read.points.shape) == (0, (0, 2))
