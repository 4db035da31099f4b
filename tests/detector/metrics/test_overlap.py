"""Areas and inclusions of pairs, against hand-counted figures and against shapely."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from detector.metrics import overlap
from detector.metrics.overlap import meeting_pairs, points_inside, shared_areas
from detector.metrics.polygons import read_polygons
from detector.metrics.regions import to_regions

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]


def regions_of(*polygons: Any) -> Any:
    return to_regions(read_polygons(polygons))


def shared(first: Any, second: Any) -> Any:
    areas = shared_areas(regions_of(first), regions_of(second), np.array([0]), np.array([0]))
    return areas[0]


@pytest.mark.parametrize(
    ("other", "area"),
    [
        (SQUARE, 100),
        (SQUARE[::-1], 100),  # the other way round
        ([[5, 0], [15, 0], [15, 10], [5, 10]], 50),
        ([[10, 0], [20, 0], [20, 10], [10, 10]], 0),  # a side in common
        ([[2, 2], [4, 2], [4, 5], [2, 5]], 6),  # within
        ([[5, 0], [10, 5], [5, 10], [0, 5]], 50),  # a diamond on the middles of the sides
        ([[10, 0], [20, 10], [10, 20], [0, 10]], 50),  # a diamond over one corner
        ([[0, 0], [10, 0], [5, 4], [0, 10]], 45),  # a dart
        ([[0, 0], [10, 0], [0, 10]], 50),  # a triangle
        ([[0, 0], [10, 10], [10, 0], [0, 10]], 50),  # a bow-tie keeps both halves
        ([[0, 0], [4, 0], [4, 6], [10, 6], [10, 10], [0, 10]], 64),  # an L of six points
        ([[0, 0], [5, 0], [10, 0], [10, 10]], 50),  # a point in the middle of a side
    ],
)
def test_areas_counted_by_hand(other: Any, area: Any) -> None:
    assert shared(SQUARE, other) == pytest.approx(area, abs=1e-12)
    assert shared(other, SQUARE) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("offset", [0, -(2**20), 10**9])
def test_far_and_huge_shapes_lose_nothing(offset: Any) -> None:
    half = np.add([[5, 0], [15, 0], [15, 10], [5, 10]], offset)
    assert shared(np.add(SQUARE, offset), half) == 50
    assert shared(np.multiply(SQUARE, 10**8), np.multiply(half - offset, 10**8)) == 50e16


def test_a_circle_of_sixty_points_goes_to_shapely() -> None:
    angles = np.arange(60) * np.pi / 30
    circle = 5 + 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inner = 60 / 2 * 25 * np.sin(np.pi / 30)
    assert shared(SQUARE, circle) == pytest.approx(inner)
    assert shared(circle, circle) == pytest.approx(inner)


points = st.tuples(st.integers(0, 24), st.integers(0, 24))
outlines = st.one_of(
    st.lists(points, min_size=3, max_size=9),
    st.tuples(points, points).map(
        lambda b: [b[0], (b[1][0] + 1, b[0][1]), (b[1][0] + 1, b[1][1] + 1), (b[0][0], b[1][1] + 1)]
    ),
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=4, max_size=4),
)


@examples(150)
@given(first=st.lists(outlines, max_size=6), second=st.lists(outlines, max_size=6))
def test_shared_areas_are_those_of_shapely(first: Any, second: Any) -> None:
    one, two = regions_of(*first), regions_of(*second)
    rows, columns = meeting_pairs(one.boxes, two.boxes)
    everything = one.geometries(np.arange(len(first))), two.geometries(np.arange(len(second)))
    expected = shapely.area(shapely.intersection(everything[0][:, None], everything[1][None]))
    areas = np.zeros(expected.shape)
    areas[rows, columns] = shared_areas(one, two, rows, columns)
    np.testing.assert_allclose(areas, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.areas, shapely.area(everything[0]), rtol=1e-12)


@examples(100)
@given(first=st.lists(outlines, max_size=6), second=st.lists(outlines, max_size=6), data=st.data())
def test_a_pair_has_the_same_area_in_any_company(first: Any, second: Any, data: Any) -> None:
    one, two = regions_of(*first), regions_of(*second)
    rows, columns = meeting_pairs(one.boxes, two.boxes)
    areas = shared_areas(one, two, rows, columns)
    for i in data.draw(st.permutations(range(len(rows))))[:3]:
        row, column = rows[i : i + 1], columns[i : i + 1]
        alone = shared_areas(
            regions_of(first[row[0]]), regions_of(second[column[0]]), row * 0, column * 0
        )
        assert alone[0] == areas[i]


@examples(50)
@given(first=st.lists(outlines, max_size=9), second=st.lists(outlines, max_size=9))
def test_many_pairs_are_found_like_few(first: Any, second: Any) -> None:
    one, two = regions_of(*first).boxes, regions_of(*second).boxes
    with pytest.MonkeyPatch.context() as patch:
        few = meeting_pairs(one, two)
        patch.setattr(overlap, "_DENSE", -1)
        many = meeting_pairs(one, two)
    assert np.array_equal(few, many)


def test_memory_is_bounded_without_changing_a_figure(monkeypatch: Any) -> None:
    one, two = regions_of(*[SQUARE] * 7), regions_of(*[np.add(SQUARE, 3)] * 5)
    pairs = meeting_pairs(one.boxes, two.boxes)
    spots = np.random.default_rng(0).uniform(0, 14, (35, 2))
    areas = shared_areas(one, two, *pairs), points_inside(spots, two.polygons, pairs[1])
    monkeypatch.setattr(overlap, "_CHUNK", 32)
    parts = shared_areas(one, two, *pairs), points_inside(spots, two.polygons, pairs[1])
    assert np.array_equal(areas, parts)
    assert set(areas[0]) == {49}


def test_left_and_upper_border_are_inside() -> None:
    spots = np.array([[0, 5], [5, 0], [10, 5], [5, 10], [0, 0], [10, 10], [5, 5]], dtype=float)
    inside = points_inside(spots, read_polygons([SQUARE]), np.zeros(7, dtype=np.intp))
    assert inside.tolist() == [True, True, False, False, True, False, True]


@examples(100)
@given(outline=outlines, spots=st.lists(points, min_size=1, max_size=8))
def test_points_off_the_border_are_inside_as_shapely_finds(outline: Any, spots: Any) -> None:
    shape = shapely.Polygon(outline)
    assume(shape.is_valid)
    spots = np.add(spots, (0.137, 0.219))
    inside = points_inside(spots, read_polygons([outline]), np.zeros(len(spots), dtype=np.intp))
    off = ~shapely.intersects(shape.exterior, shapely.points(spots))
    assert np.array_equal(inside[off], shapely.contains(shape, shapely.points(spots))[off])
