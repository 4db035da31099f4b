from __future__ import annotations

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon

from detector.core.geometry import (
    canonical_order,
    canonical_orders,
    clip_to_image,
    exact_distance,
    offset_largest,
    offset_polygon,
    perimeter,
    polygon_area,
    signed_area,
    transform_points,
)

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]  # clockwise on screen, from the top-left
DUMBBELL = [
    [0, 0], [20, 0], [20, 9], [40, 9], [40, 0], [64, 0],
    [64, 20], [40, 20], [40, 11], [20, 11], [20, 20], [0, 20],
]  # fmt: skip
NEARLY_CLOSED_RING = [
    [0, 0], [40, 0], [40, 18], [36, 18], [36, 4], [4, 4],
    [4, 36], [36, 36], [36, 22], [40, 22], [40, 40], [0, 40],
]  # fmt: skip


@st.composite
def star_polygons(draw: st.DrawFn) -> NDArray[np.float64]:
    """Simple polygons around a centre, on a grid of 1/8 px."""
    count = draw(st.integers(3, 12))
    radii = draw(st.lists(st.floats(4, 60), min_size=count, max_size=count))
    centre = draw(st.tuples(st.integers(-300, 300), st.integers(-300, 300)))
    angle = np.arange(count) * 2 * np.pi / count
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array(radii)[:, None] + centre
    return np.round(points * 8) / 8


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[NDArray[np.float64], float, float]:
    width, height = draw(st.floats(4, 200)), draw(st.floats(4, 60))
    angle = draw(st.floats(-np.pi, np.pi))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
    return corners @ rotation.T + 100, width, height


def test_area_is_positive_clockwise_on_screen() -> None:
    assert signed_area(SQUARE) == 100
    assert signed_area(SQUARE[::-1]) == -100
    assert polygon_area(SQUARE[::-1]) == 100


@pytest.mark.parametrize("points", [[], [[3, 4]], [[3, 4], [5, 6]], [[0, 0], [1, 1], [2, 2]]])
def test_area_of_a_point_or_line_is_zero(points: list[list[float]]) -> None:
    assert signed_area(points) == 0


def test_area_keeps_its_digits_far_from_the_origin() -> None:
    assert signed_area(np.array(SQUARE) / 10 + 2.0**40) == pytest.approx(1, abs=1e-3)


@examples(50)
@given(star_polygons())
def test_area_and_perimeter_match_shapely(points: NDArray[np.float64]) -> None:
    assert polygon_area(points) == pytest.approx(Polygon(points).area)
    assert perimeter(points) == pytest.approx(Polygon(points).length)


@pytest.mark.parametrize(
    ("points", "length"),
    [([], 0), ([[7, 7]], 0), ([[0, 0], [3, 4]], 10), ([[0, 0], [3, 0], [3, 4]], 12)],
)
def test_perimeter_is_closed(points: list[list[float]], length: float) -> None:
    assert perimeter(points) == length


def test_offset_of_a_square() -> None:
    (inner,) = offset_polygon(SQUARE, -2)
    assert sorted(inner.tolist()) == [[2, 2], [2, 8], [8, 2], [8, 8]]
    (outer,) = offset_polygon(SQUARE, 2)
    assert polygon_area(outer) == pytest.approx(100 + 4 * 10 * 2 + math.pi * 4, rel=0.005)
    assert outer.dtype == np.float32
    assert outer.min() == -2
    assert outer.max() == 12


@examples(50)
@given(rectangles(), st.floats(0.05, 0.45))
def test_offset_inwards_then_outwards_stays_on_the_rectangle(
    case: tuple[NDArray[np.float64], float, float], share: float
) -> None:
    points, width, height = case
    distance = share * min(width, height)
    (inner,) = offset_polygon(points, -distance)
    expected = (width - 2 * distance) * (height - 2 * distance)
    assert polygon_area(inner) == pytest.approx(expected, rel=0.01, abs=0.5)
    (back,) = offset_polygon(inner, distance)
    # Only the rounded corners are missing.
    missing = (4 - math.pi) * distance**2
    assert polygon_area(back) == pytest.approx(width * height - missing, rel=0.02, abs=1)


@examples(50)
@given(star_polygons(), st.floats(0.5, 10))
def test_offset_outwards_matches_shapely(points: NDArray[np.float64], distance: float) -> None:
    largest = Polygon(offset_polygon(points, distance)[0])
    expected = Polygon(Polygon(points).buffer(distance, quad_segs=32).exterior)
    assert largest.symmetric_difference(expected).area <= 0.1 * expected.length


@examples(50)
@given(star_polygons(), st.floats(-6, 6), st.integers(-500, 500), st.integers(-500, 500))
def test_offset_commutes_with_whole_pixel_moves(
    points: NDArray[np.float64], distance: float, dx: int, dy: int
) -> None:
    move = np.array([dx, dy])
    here, there = (offset_polygon(p, distance) for p in (points, points + move))
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a + move, b, atol=1e-4)


@examples(50)
@given(star_polygons(), st.floats(-4, 4))
def test_offset_ignores_direction(points: NDArray[np.float64], distance: float) -> None:
    one, other = (
        sum(polygon_area(s) for s in offset_polygon(p, distance)) for p in (points, points[::-1])
    )
    assert one == pytest.approx(other, rel=0.01, abs=0.5)


def test_offset_pieces_come_largest_first() -> None:
    pieces = offset_polygon(DUMBBELL, -2)
    assert [polygon_area(p) for p in pieces] == pytest.approx([20 * 16, 16 * 16], rel=1e-3)


def test_offset_returns_no_holes() -> None:
    (ring,) = offset_polygon(NEARLY_CLOSED_RING, 3)
    assert polygon_area(ring) == pytest.approx(46 * 46, rel=0.01)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [[1, 1]],
        [[1, 1], [9, 1]],
        [[1, 1]] * 4,
        [[0, 0], [5, 0], [5, 0], [0, 0]],
        [[0, 0], [10, 0], [10, math.nan], [0, 10]],
        [[0, 0], [math.inf, 0], [10, 10]],
        [[0, 0], [1e300, 0], [10, 10]],
        [[2e6, 0], [2e6 + 10, 0], [2e6, 10]],
    ],
)
def test_offset_of_unusable_points_is_empty(points: list[list[float]]) -> None:
    assert offset_polygon(points, 2) == []


def test_offset_vanishes_beyond_the_inradius() -> None:
    assert offset_polygon(SQUARE, -5.01) == []
    assert offset_polygon(SQUARE, math.nan) == []


def test_offset_survives_a_bow_tie() -> None:
    for distance in (-2.0, 2.0):
        assert offset_polygon([[0, 0], [20, 20], [20, 0], [0, 20]], distance)


def test_offset_of_a_there_and_back_line_is_a_stadium() -> None:
    (stadium,) = offset_polygon([[0, 0], [5, 0], [10, 0], [5, 0]], 2)
    assert polygon_area(stadium) == pytest.approx(10 * 4 + math.pi * 4, rel=0.01)


def test_offset_keeps_float32_resolution_far_from_the_origin() -> None:
    (inner,) = offset_polygon(np.array(SQUARE) + 40000.25, -2)
    assert inner.min() == 40002.25


@examples(50)
@given(star_polygons(), st.integers(0, 11), st.booleans())
def test_canonical_order_forgets_where_and_how_a_polygon_was_listed(
    points: NDArray[np.float64], start: int, reverse: bool
) -> None:
    other = np.roll(points, start, axis=0)
    other = other[::-1] if reverse else other
    np.testing.assert_array_equal(canonical_order(points), canonical_order(other))


@examples(50)
@given(star_polygons())
def test_canonical_order_is_clockwise_from_the_top_left(points: NDArray[np.float64]) -> None:
    ordered = canonical_order(points)
    assert ordered.dtype == np.float32
    assert signed_area(ordered) > 0
    assert ordered[0].sum() == points.sum(axis=1).min()
    assert sorted(ordered.tolist()) == sorted(points.tolist())


def test_canonical_order_breaks_ties_upwards() -> None:
    diamond = [[5, 0], [10, 5], [5, 10], [0, 5]]  # (5, 0) and (0, 5) are equally near
    assert canonical_order(diamond[1:] + diamond[:1]).tolist() == diamond


def test_canonical_order_of_repeated_corners() -> None:
    points = np.array([[0, 0], [0, 0], [8, 0], [8, 4], [0, 4]])
    for start in range(5):
        assert canonical_order(np.roll(points, start, axis=0)).tolist() == points.tolist()


@pytest.mark.parametrize("points", [[], [[2, 3]], [[2, 3]] * 3])
def test_canonical_order_of_next_to_nothing(points: list[list[float]]) -> None:
    assert canonical_order(points).tolist() == points


def test_canonical_order_sees_differences_below_float32_sums() -> None:
    points = np.array([[30000.001953125, 30000], [30000, 30000.00390625], [30010, 30010]])
    assert canonical_order(points)[0].tolist() == [30000.001953125, 30000]


@examples(50)
@given(st.lists(star_polygons(), min_size=1, max_size=6), st.data())
def test_many_polygons_are_ordered_as_one_by_one(
    polygons: list[NDArray[np.float64]], data: st.DataObject
) -> None:
    listed = []
    for points in polygons:
        other = np.roll(points, data.draw(st.integers(0, 11)), axis=0)
        listed.append(other[::-1] if data.draw(st.booleans()) else other)
    counts = np.array([len(p) for p in listed])
    ordered, areas = canonical_orders(np.concatenate(listed).astype(np.float32), counts)
    np.testing.assert_allclose(areas, [Polygon(p).area for p in polygons])
    for points, found in zip(polygons, ordered, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, canonical_order(points))
    # Alone, to the last bit.
    for points, found, area in zip(listed, ordered, areas, strict=True):
        (single,), alone = canonical_orders(points.astype(np.float32), np.array([len(points)]))
        np.testing.assert_array_equal(single, found)
        assert alone[0] == area


def test_many_polygons_with_repeated_corners_and_without_area() -> None:
    repeated = np.array([[0, 0], [0, 0], [8, 0], [8, 4], [0, 4]], np.float32)
    line = np.array([[5, 7], [5, 2], [5, 9]], np.float32)
    point = np.array([[2, 3]] * 3, np.float32)
    for start in range(5):
        listed = [point, np.roll(repeated, start, axis=0), line]
        ordered, areas = canonical_orders(np.concatenate(listed), np.array([3, 5, 3]))
        assert ordered[0].tolist() == point.tolist()
        assert ordered[1].tolist() == repeated.tolist()
        assert ordered[2].tolist() == [[5, 2], [5, 9], [5, 7]]
        assert areas.tolist() == [0, 32, 0]
    assert canonical_orders(np.zeros((0, 2), np.float32), np.zeros(0, np.intp))[0] == []


@examples(50)
@given(st.lists(star_polygons(), min_size=1, max_size=5), st.floats(-6, 6))
def test_many_offsets_are_those_one_by_one(
    polygons: list[NDArray[np.float64]], distance: float
) -> None:
    distances = np.array([distance * k for k in range(1, len(polygons) + 1)])
    counts = np.array([len(p) for p in polygons])
    points, grown = offset_largest(np.concatenate(polygons), counts, distances)
    assert len(points) == grown.sum()
    pieces = np.split(points, np.cumsum(grown)[:-1])
    for polygon, each, piece in zip(polygons, distances.tolist(), pieces, strict=True):
        expected = offset_polygon(polygon, each)
        np.testing.assert_array_equal(
            piece.astype(np.float32), expected[0] if expected else np.zeros((0, 2))
        )


def test_many_offsets_keep_the_largest_piece_and_count_what_vanishes() -> None:
    polygons = [SQUARE, DUMBBELL, NEARLY_CLOSED_RING]
    points, counts = offset_largest(
        np.concatenate(polygons).astype(np.float64),
        np.array([len(p) for p in polygons]),
        np.array([-5.01, -2, 3]),
    )
    assert counts[0] == 0
    assert polygon_area(points[: counts[1]]) == pytest.approx(20 * 16, rel=1e-3)
    assert polygon_area(points[counts[1] :]) == pytest.approx(46 * 46, rel=0.01)


@examples(200)
@given(st.floats(1, 2000), st.floats(1, 2000), st.floats(0.001, 0.999))
def test_exact_distance_undoes_the_shrink_of_a_rectangle(
    width: float, height: float, shrink_ratio: float
) -> None:
    distance = width * height * (1 - shrink_ratio**2) / (2 * (width + height))
    inner_width, inner_height = width - 2 * distance, height - 2 * distance
    found = exact_distance(
        inner_width * inner_height, 2 * (inner_width + inner_height), shrink_ratio
    )
    assert float(found) == pytest.approx(distance, abs=1e-3)


def test_exact_distance_by_hand() -> None:
    # A square of side 10 shrunk by 100 * 0.84 / 40 = 2.1 on each side has a side of 5.8.
    side = np.array([5.8, 0.0])
    np.testing.assert_allclose(exact_distance(side**2, 4 * side + [0, 8], 0.4), [2.1, 0])


def test_clip_to_image_stops_at_the_last_pixel() -> None:
    points: list[list[float]] = [[-5, 3], [700, -0.5], [639.5, 481], [10.25, 20.75]]
    expected = [[0, 3], [639, 0], [639, 479], [10.25, 20.75]]
    assert clip_to_image(points, 640, 480).tolist() == expected


def test_transform_by_affine_and_homography() -> None:
    affine = [[2, 0, 5], [0, 3, -1]]
    assert transform_points([[1, 2], [0, 0]], affine).tolist() == [[7, 5], [5, -1]]
    homography = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0, 1]])
    assert transform_points([[2, 4]], homography).tolist() == [[1, 2]]
    assert transform_points(np.zeros((0, 2)), affine).shape == (0, 2)


@examples(50)
@given(star_polygons(), st.floats(0.2, 5), st.floats(-0.5, 0.5), st.floats(-1e-4, 1e-4))
def test_transform_is_undone_by_the_inverse(
    points: NDArray[np.float64], scale: float, shear: float, perspective: float
) -> None:
    matrix = np.array([[scale, shear, 7], [0, scale, -3], [perspective, 0, 1]])
    back = transform_points(transform_points(points, matrix), np.linalg.inv(matrix))
    np.testing.assert_allclose(back, points, atol=0.01)


def test_transformed_points_do_not_depend_on_how_many_there_are() -> None:
    points = np.random.default_rng(0).uniform(0, 2000, (50, 2))
    for matrix in ([[0.61, 0.02, 3.7], [-0.03, 0.58, 4.1]], np.eye(3) + 1e-4):
        together = transform_points(points, matrix)
        for i in range(50):
            np.testing.assert_array_equal(
                transform_points(points[i : i + 1], matrix)[0], together[i]
            )
