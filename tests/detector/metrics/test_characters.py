"""The smallest box around a quad, and the corner where reading starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.geometry import canonical_order
from detector.metrics.characters import (
    box_sides,
    count_characters,
    quad_box_sides,
    reading_order,
)
from detector.metrics.polygons import read_polygons

corners = st.lists(
    st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=4, max_size=4
).map(lambda q: np.array(q, dtype=float))


@examples(200)
@given(quads=st.lists(corners, min_size=1, max_size=5))
def test_the_smallest_box_is_as_small_as_opencv_finds_it(quads: Any) -> None:
    horizontal, vertical = quad_box_sides(np.array(quads))
    expected = np.array([np.prod(box_sides(quad)) for quad in quads])
    np.testing.assert_allclose(horizontal * vertical, expected, rtol=1e-4, atol=1e-3)


@examples(200)
@given(
    quad=corners,
    shift=st.integers(0, 3),
    mirrored=st.booleans(),
    offset=st.integers(-(10**6), 10**6),
)
def test_the_smallest_box_does_not_depend_on_place_or_order(
    quad: Any, shift: Any, mirrored: Any, offset: Any
) -> None:
    turned = np.roll(quad[::-1] if mirrored else quad, shift, axis=0) + offset
    sides = [np.array(quad_box_sides(q[None])).ravel() for q in (quad, turned)]
    np.testing.assert_allclose(sides[0], sides[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("quad", "sides"),
    [
        ([[0, 0], [30, 0], [30, 10], [0, 10]], (30, 10)),
        ([[0, 0], [10, 0], [10, 30], [0, 30]], (10, 30)),
        ([[0, 0], [40, 30], [34, 38], [-6, 8]], (50, 10)),  # 37 degrees down
        ([[0, 0], [30, 40], [22, 46], [-8, 6]], (10, 50)),  # 53 degrees: a column
        ([[0, 30], [30, 0], [40, 10], [10, 40]], (30 * 2**0.5, 10 * 2**0.5)),  # 45 degrees up
        ([[0, 10], [30, 40], [20, 50], [-10, 20]], (10 * 2**0.5, 30 * 2**0.5)),  # and down
        ([[0, 0], [8, 0], [8, 0], [8, 0]], (8, 0)),
        ([[7, 7]] * 4, (0, 0)),
    ],
)
def test_boxes_measured_by_hand(quad: Any, sides: Any) -> None:
    assert np.array(quad_box_sides(np.array([quad], dtype=float))).ravel() == pytest.approx(sides)
    assert box_sides(np.array(quad, dtype=float)) == pytest.approx(sides, rel=1e-5)


@examples(200)
@given(quads=st.lists(corners, min_size=1, max_size=5))
def test_many_quads_are_ordered_like_one(quads: Any) -> None:
    polygons = read_polygons([*quads, [[0, 0], [9, 0], [9, 9]]])
    ordered = reading_order("competition", polygons)
    for i, quad in enumerate(quads):
        expected = canonical_order(quad)
        turned = [expected, np.roll(expected, 1, axis=0)]  # columns start one corner earlier
        assert any(np.array_equal(ordered[i], q) for q in turned)


def test_texts_count_their_characters_officially_and_shapes_else() -> None:
    words = read_polygons([[[0, 0], [70, 0], [70, 10], [0, 10]]] * 3)
    assert count_characters("official", words, ["abc", "", None]).tolist() == [3, 0, 7]
    assert count_characters("competition", words, ["abc", "", None]).tolist() == [8, 8, 8]
