from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from shapely.geometry import Point, Polygon

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.core.geometry import canonical_order, signed_area
from detector.data.crops.targets import make_targets
from detector.postprocess.polygons import (
    Candidates,
    Detections,
    Grown,
    candidate_count,
    detect,
    find_candidates,
    grow,
)

BOTH_SHAPES = pytest.mark.parametrize("shape", ["quad", "polygon"])


def run(probability: NDArray[Any], **changes: Any) -> Detections:
    """`detect` with nothing filtered, unless the test says so."""
    options: dict[str, Any] = PostprocessConfig().model_dump() | {
        "thresh": 0.5,
        "box_thresh": 0.0,
        "min_side_px": 0.0,
    }
    return detect(np.asarray(probability, np.float32), **(options | changes))


def grown(candidates: Candidates, size: tuple[int, int] = (60, 40), **changes: Any) -> Grown:
    options: dict[str, Any] = {"unclip": "ratio", "unclip_ratio": 1.6, "shrink_ratio": 0.4}
    options |= {"shape": "quad", "epsilon": 0.002, "dilate": False, "size": size}
    return grow(candidates, **(options | changes))


def speckled(seed: int) -> NDArray[np.float32]:
    """A map of some thirty ragged regions, some of them with holes, lines or single pixels."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((70, 90)), (0, 0), 1.6)
    p = (noise - noise.min()) / np.ptp(noise)
    p[rng.integers(0, 70, 12), rng.integers(0, 90, 12)] = 0.9
    p[3, 5:40] = p[60:68, 80] = 0.8
    return p.astype(np.float32)


def page(height: int = 40, width: int = 60) -> NDArray[np.float32]:
    return np.zeros((height, width), np.float32)


def bounds(points: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(np.round([*points.min(axis=0), *points.max(axis=0)], 3).tolist())


def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    one, other = Polygon(a), Polygon(b)
    return float(one.intersection(other).area / one.union(other).area)


def rectangle(width: float, height: float, angle: float, centre: Any) -> NDArray[np.float64]:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
    return np.asarray(corners @ rotation.T + centre)


def exact_ratio(width: float, height: float) -> float:
    """The unclip ratio that undoes the shrink of a rectangle at r = 0.4."""
    distance = 0.84 * width * height / (2 * (width + height))
    inner_w, inner_h = width - 2 * distance, height - 2 * distance
    return distance * 2 * (inner_w + inner_h) / (inner_w * inner_h)


def test_one_box_by_hand() -> None:
    p = page()
    p[10:19, 20:45] = 0.8  # pixel centres from (20, 10) to (44, 18): 24 x 8
    found = run(p, unclip_ratio=1.5)
    grow = 24 * 8 * 1.5 / 64
    expected = [[20 - grow, 10 - grow], [44 + grow, 10 - grow]]
    expected += [[44 + grow, 18 + grow], [20 - grow, 18 + grow]]
    np.testing.assert_allclose(found.polygons[0], expected, atol=1e-4)
    assert found.polygons[0].dtype == np.float32
    assert found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores, [0.8])


def test_one_polygon_by_hand() -> None:
    p = page()
    p[10:19, 20:45] = 0.8
    (points,) = run(p, unclip_ratio=1.5, shape="polygon").polygons
    assert bounds(points) == (15.5, 5.5, 48.5, 22.5)
    # Rounded corners miss (4 - pi) D^2 of the box.
    assert Polygon(points).area == pytest.approx(33 * 17 - (4 - np.pi) * 4.5**2, rel=0.005)


@BOTH_SHAPES
def test_without_growth_the_outline_is_that_of_the_pixel_centres(shape: str) -> None:
    p = page()
    p[10:19, 20:45] = 1
    (points,) = run(p, unclip_ratio=0, shape=shape).polygons
    assert bounds(points) == (20, 10, 44, 18)


@BOTH_SHAPES
@pytest.mark.parametrize("size", [(0, 0), (0, 7), (1, 1), (5, 1), (40, 60)])
def test_an_empty_map_has_no_words(shape: str, size: tuple[int, int]) -> None:
    found = run(np.zeros(size), shape=shape)
    assert found.polygons == []
    assert found.scores.shape == (0,)
    assert found.scores.dtype == np.float32


@BOTH_SHAPES
def test_a_map_that_is_all_text_is_the_page(shape: str) -> None:
    found = run(np.ones((30, 50)), shape=shape)
    assert bounds(found.polygons[0]) == (0, 0, 49, 29)


@BOTH_SHAPES
def test_a_single_pixel_map_does_not_crash(shape: str) -> None:
    assert run(np.ones((1, 1)), shape=shape).polygons == []  # a page of 1 px has no area


@BOTH_SHAPES
@pytest.mark.parametrize("dilate", [False, True])
@pytest.mark.parametrize(
    "pixels",
    [
        np.s_[20, 30],
        np.s_[20, 10:50],
        np.s_[5:35, 30],
        (np.arange(10, 30), np.arange(10, 30)),
        (np.r_[20, 20, 20, 21], np.r_[30, 31, 32, 32]),
    ],
    ids=["pixel", "row", "column", "diagonal", "hook"],
)
def test_regions_one_pixel_thick_can_grow(shape: str, dilate: bool, pixels: Any) -> None:
    p = page()
    p[pixels] = 1
    (points,) = run(p, shape=shape, dilate=dilate, unclip_ratio=2.0).polygons
    outline = Polygon(points)
    assert outline.is_valid
    y, x = np.nonzero(p)
    assert all(outline.buffer(0.01).covers(Point(q)) for q in zip(x, y, strict=True))
    # One pixel grows by A * ratio / L = 1 * 2 / 4 on each side.
    assert outline.minimum_rotated_rectangle.area >= 3.9


def test_a_line_grows_as_a_rectangle_one_pixel_high() -> None:
    p = page()
    p[20, 10:31] = 1
    grow = 20 * 1 * 1.5 / 42
    for shape in ("quad", "polygon"):
        (points,) = run(p, unclip_ratio=1.5, shape=shape).polygons
        expected = (10 - grow, 19.5 - grow, 30 + grow, 20.5 + grow)
        assert bounds(points) == pytest.approx(expected, abs=1e-3)


def test_candidates_are_scored_and_sorted_before_the_cut() -> None:
    p = page()
    for top, value in ((2, 0.9), (12, 0.6), (22, 0.95), (32, 0.7)):
        p[top : top + 5, 10:30] = value
    np.testing.assert_allclose(run(p).scores, [0.95, 0.9, 0.7, 0.6])
    found = run(p, max_candidates=2)
    np.testing.assert_allclose(found.scores, [0.95, 0.9])
    assert [round(float(q[:, 1].mean())) for q in found.polygons] == [24, 4]
    np.testing.assert_allclose(run(p, box_thresh=0.7).scores, [0.95, 0.9, 0.7])


def test_equal_scores_come_from_top_to_bottom() -> None:
    p = page()
    for top in (2, 12, 22, 32):
        p[top : top + 5, 10:30] = 0.75
    tops = [float(q[0, 1]) for q in run(p).polygons]
    assert tops == sorted(tops)
    assert run(p, max_candidates=1).polygons[0][0, 1] == tops[0]


@BOTH_SHAPES
def test_holes_are_no_words_but_text_in_a_hole_is(shape: str) -> None:
    p = page(60, 90)
    p[5:55, 5:85] = 0.9
    p[15:45, 15:75] = 0.1
    p[25:35, 30:60] = 0.8
    found = run(p, shape=shape, unclip_ratio=0)
    assert [bounds(q) for q in found.polygons] == [(30, 25, 59, 34), (5, 5, 84, 54)]
    # The frame's region is filled: its hole and the text in the hole count.
    filled = p[5:55, 5:85].mean()
    np.testing.assert_allclose(found.scores, [0.8, filled], rtol=1e-5)


def test_fast_scores_the_contour_and_slow_its_simplified_polygon() -> None:
    p = page()
    p[10:20, 20:40] = 0.9
    p[9, 29] = 0.9  # a bump that simplification removes
    p[10, 29] = 0.6
    contour, simplified = p[10:20, 20:40].sum() + 0.9, p[10:20, 20:40].sum()
    fast = run(p, score_mode="fast", epsilon=0.1).scores
    slow = run(p, score_mode="slow", epsilon=0.1).scores
    np.testing.assert_allclose(fast, [contour / 201], rtol=1e-5)
    np.testing.assert_allclose(slow, [simplified / 200], rtol=1e-5)


@BOTH_SHAPES
def test_the_minimum_side_is_measured_after_growth(shape: str) -> None:
    p = page()
    p[20:23, 10:51] = 1  # 40 x 2, grows by 80 * 1.6 / 84 = 1.52 to 5.05
    assert len(run(p, shape=shape, unclip_ratio=1.6, min_side_px=5.0).polygons) == 1
    assert len(run(p, shape=shape, unclip_ratio=1.6, min_side_px=5.1).polygons) == 0
    assert len(run(p, shape=shape, unclip_ratio=0.0, min_side_px=2.1).polygons) == 0


@BOTH_SHAPES
def test_points_go_back_through_the_affine_as_floats(shape: str) -> None:
    p = page()
    p[10:19, 20:45] = 1
    affine = np.array([[0.25, 0, -0.375], [0, 0.2, -0.4]])  # x' = (x + 0.5) s - 0.5
    (points,) = run(p, shape=shape, unclip_ratio=0, affine=affine, size=(400, 400)).polygons
    assert bounds(points) == (81.5, 52, 177.5, 92)


def test_far_coordinates_do_not_wrap_around() -> None:
    p = page()
    p[10:19, 20:45] = 1
    affine = [[1e-3, 0, 0], [0, 1e-3, 0]]
    (points,) = run(p, unclip_ratio=0, affine=affine, size=(60000, 60000)).polygons
    assert bounds(points) == (20000, 10000, 44000, 18000)


@BOTH_SHAPES
def test_words_stay_on_the_page_and_padding_is_dropped(shape: str) -> None:
    p = page()
    p[10:19, 20:45] = 1
    p[25:35, 52:60] = 0.9  # beside a page that ends at x = 41
    found = run(p, shape=shape, affine=np.eye(2, 3), size=(42, 40))
    assert len(found.polygons) == 1
    assert found.polygons[0].max(axis=0)[0] == 41
    np.testing.assert_allclose(found.scores, [1.0])


def test_a_dilated_region_keeps_its_centre() -> None:
    p = page()
    p[10:19, 20:45] = 1
    (plain,) = run(p, unclip_ratio=0).polygons
    (dilated,) = run(p, unclip_ratio=0, dilate=True).polygons
    np.testing.assert_allclose(dilated.mean(axis=0), plain.mean(axis=0))
    assert bounds(dilated) == (19.5, 9.5, 44.5, 18.5)


def test_dilation_joins_what_one_pixel_separates() -> None:
    p = page()
    p[10:15, 10:20] = p[10:15, 21:30] = 1
    assert len(run(p).polygons) == 2
    assert len(run(p, dilate=True).polygons) == 1


@examples(40)
@given(
    arrays(np.float32, (12, 17), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    st.sampled_from(["quad", "polygon"]),
    st.sampled_from(["fast", "slow"]),
    st.booleans(),
    st.sampled_from([0.0, 0.8, 1.6, 3.0]),
    st.sampled_from([0.0, 0.002, 0.1]),
)
def test_any_map_gives_proper_detections(
    p: NDArray[np.float32], shape: str, score_mode: str, dilate: bool, ratio: float, epsilon: float
) -> None:
    before = p.copy()
    changes = {"shape": shape, "score_mode": score_mode, "dilate": dilate, "epsilon": epsilon}
    found = run(p, thresh=0.4, unclip_ratio=ratio, **changes)
    np.testing.assert_array_equal(p, before)
    assert len(found.polygons) == len(found.scores)
    assert (np.diff(found.scores) <= 0).all()
    for points in found.polygons:
        assert points.dtype == np.float32
        assert len(points) == 4 or shape == "polygon"
        assert (points >= 0).all()
        assert (points <= [16, 11]).all()
        assert signed_area(points) >= 0
        np.testing.assert_array_equal(points, canonical_order(points))
    # Cutting and thresholding select from the same list.
    best = run(p, thresh=0.4, unclip_ratio=ratio, max_candidates=3, **changes)
    for a, b in zip(best.polygons, found.polygons, strict=False):
        np.testing.assert_array_equal(a, b)
    above = run(p, thresh=0.4, unclip_ratio=ratio, box_thresh=0.7, **changes)
    np.testing.assert_array_equal(above.scores, found.scores[found.scores >= np.float32(0.7)])


@BOTH_SHAPES
def test_a_perfect_kernel_grown_exactly_gives_the_word_back(shape: str) -> None:
    rng = np.random.default_rng(0)
    overlaps, excess = [], []
    for _ in range(40):
        height = rng.uniform(10, 30)
        width = height * rng.uniform(1, 5)
        word = rectangle(width, height, 0.0, 100 + rng.uniform(0, 1, 2))
        shrink = make_targets([word], [False], 200, 200).shrink
        found = run(shrink, unclip_ratio=exact_ratio(width, height), shape=shape)
        overlaps.append(iou(found.polygons[0], word))
        excess.append(np.ptp(found.polygons[0], axis=0) - [width, height])
    assert np.mean(overlaps) > 0.9
    assert np.abs(np.mean(excess, axis=0)).max() < 0.5  # no systematic bias


@BOTH_SHAPES
@pytest.mark.parametrize(
    ("ratio", "width", "height", "least"),
    [(1.5, 60, 16, 0.70), (1.6, 60, 16, 0.72), (1.5, 200, 20, 0.50), (1.6, 200, 20, 0.52)],
)
def test_round_trip_of_a_page(
    shape: str, ratio: float, width: float, height: float, least: float
) -> None:
    rng = np.random.default_rng(1)
    words = [
        rectangle(width, height, 0.0, np.array([130, 30 + 40 * k]) + rng.random(2))
        for k in range(6)
    ]
    shrink = make_targets(words, [False] * 6, 260, 260).shrink
    found = run(shrink, unclip_ratio=ratio, shape=shape)
    assert len(found.polygons) == 6
    np.testing.assert_array_equal(found.scores, 1)
    overlaps = [max(iou(q, w) for q in found.polygons) for w in words]
    assert np.mean(overlaps) > least


@BOTH_SHAPES
@pytest.mark.parametrize("unclip", ["ratio", "exact"])
@pytest.mark.parametrize("dilate", [False, True])
@pytest.mark.parametrize(
    "affine", [None, [[0.61, 0.02, -3.7], [-0.03, 0.58, 4.1]], [[-0.5, 0, 88], [0, 0.7, 0]]]
)
def test_growing_the_best_gives_the_best_of_growing_all(
    shape: str, unclip: str, dilate: bool, affine: Any
) -> None:
    score_mode: Any
    for seed, score_mode in ((0, "fast"), (1, "slow")):
        p = speckled(seed)
        settings: dict[str, Any] = {"dilate": dilate, "epsilon": 0.002}
        found = find_candidates(p, thresh=0.55, score_mode=score_mode, **settings)
        assert len(found) > 20
        settings |= {"shape": shape, "unclip": unclip, "affine": affine, "size": (120, 110)}
        everything = grown(found, **settings)
        for count in (0, 1, 2, 3, 7, 8, 9, 16, len(found) - 1):
            some = grown(found.first(count), **settings)
            assert len(some.polygons) == len(some.sides) == len(some.solid) == count
            for a, b in zip(some.polygons, everything.polygons, strict=False):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(some.sides, everything.sides[:count])
            np.testing.assert_array_equal(some.solid, everything.solid[:count])


@BOTH_SHAPES
@pytest.mark.parametrize("score_mode", ["fast", "slow"])
def test_detect_is_its_stages(shape: str, score_mode: Any) -> None:
    p = speckled(2)
    affine = [[0.61, 0.02, -3.7], [-0.03, 0.58, 4.1]]
    found = find_candidates(p, thresh=0.55, score_mode=score_mode, dilate=False, epsilon=0.01)
    everything = grown(found, (80, 110), shape=shape, epsilon=0.01, affine=affine)
    for box_thresh, limit, side in ((0.0, 1000, 0.0), (0.62, 1000, 3.0), (0.0, 7, 4.0)):
        expected = [
            (polygon, score)
            for i, (polygon, score) in enumerate(
                zip(everything.polygons, found.scores, strict=True)
            )
            if i < limit and score >= np.float32(box_thresh)
            if everything.sides[i] >= side and everything.solid[i]
        ]
        changes: dict[str, Any] = {
            "thresh": 0.55,
            "box_thresh": box_thresh,
            "max_candidates": limit,
        }
        changes |= {"min_side_px": side, "shape": shape, "score_mode": score_mode}
        words = run(p, epsilon=0.01, affine=affine, size=(80, 110), **changes)
        assert 0 < len(words.polygons) == len(expected) < len(found)
        np.testing.assert_array_equal(words.scores, [score for _, score in expected])
        for a, (b, _) in zip(words.polygons, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_candidates_are_every_region_best_first() -> None:
    p = page()
    for top, value in ((2, 0.6), (12, 0.9), (22, 0.6), (32, 0.7)):
        p[top : top + 5, 10:30] = value
    found = find_candidates(p, thresh=0.5, score_mode="fast", dilate=False, epsilon=0.0)
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6, 0.6])
    assert [int(c[:, 1].min()) for c in found.contours] == [12, 32, 2, 22]
    best = found.first(2)
    assert len(best) == len(best.scores) == 2
    assert best.contours[1] is found.contours[1]


def test_the_kept_candidates_are_the_first() -> None:
    scores = np.array([0.9, 0.7, 0.7, 0.4], np.float32)
    counts = [
        candidate_count(scores, box_thresh=threshold, max_candidates=limit)
        for threshold, limit in ((0.0, 9), (0.0, 3), (0.7, 9), (0.7, 1), (0.71, 9), (0.95, 9))
    ]
    assert counts == [4, 3, 3, 1, 1, 0]
    assert candidate_count(np.zeros(0, np.float32), box_thresh=0.0, max_candidates=5) == 0


@BOTH_SHAPES
def test_sides_are_in_model_pixels_and_polygons_in_source_pixels(shape: str) -> None:
    corners = np.array([[20, 10], [44, 10], [44, 18], [20, 18]], np.int32)  # 24 x 8
    candidate = Candidates([corners], np.ones(1, np.float32))
    words = grown(candidate, (600, 400), shape=shape, unclip_ratio=1.5, affine=np.eye(2, 3) / 10)
    np.testing.assert_allclose(words.sides, [8 + 2 * 4.5])
    assert bounds(words.polygons[0]) == (155, 55, 485, 225)
    assert words.solid.tolist() == [True]
    beside = grown(candidate, (15, 400), shape=shape, unclip_ratio=1.0)
    assert beside.solid.tolist() == [False]
    np.testing.assert_allclose(beside.sides, [8 + 2 * 3])


@examples(100)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(0.01, 0.99),
    # Outlines are kept in 1/1024 px, and a quad loses what the chords of a corner's arc lose.
    st.sampled_from([("quad", 0.1), ("polygon", 2e-3)]),
)
def test_exact_growth_undoes_the_shrink_of_a_rectangle(
    width: int, height: int, shrink_ratio: float, case: tuple[str, float]
) -> None:
    shape, atol = case
    kernel = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.int32) + 500
    candidate = Candidates([kernel], np.ones(1, np.float32))
    changes: dict[str, Any] = {"unclip": "exact", "shrink_ratio": shrink_ratio, "shape": shape}
    words = grown(candidate, (1500, 1500), **changes)
    word = words.polygons[0].astype(np.float64)
    long, short = np.ptp(word, axis=0)
    assert words.sides[0] == pytest.approx(min(long, short), abs=atol)
    # Eq. 10 of the paper, for the word that came out, leads back to the kernel.
    distance = long * short * (1 - shrink_ratio**2) / (2 * (long + short))
    shrunk = [*(word.min(axis=0) + distance), *(word.max(axis=0) - distance)]
    np.testing.assert_allclose(shrunk, [*kernel[0], *kernel[2]], rtol=0, atol=atol)


@BOTH_SHAPES
@pytest.mark.parametrize("shrink_ratio", [0.3, 0.4, 0.6])
def test_a_drawn_kernel_grown_exactly_gives_the_word_back(shape: str, shrink_ratio: float) -> None:
    rng = np.random.default_rng(3)
    overlaps, excess = [], []
    for _ in range(30):
        height = rng.uniform(14, 30)
        width = height * rng.uniform(1, 8)
        word = rectangle(width, height, 0.0, np.array([140, 40]) + rng.random(2))
        shrink = make_targets([word], [False], 80, 280, shrink_ratio=shrink_ratio).shrink
        found = run(shrink, unclip="exact", shrink_ratio=shrink_ratio, shape=shape)
        overlaps.append(iou(found.polygons[0], word))
        excess.append(np.ptp(found.polygons[0], axis=0) - [width, height])
    assert np.mean(overlaps) > 0.9
    assert np.abs(np.mean(excess, axis=0)).max() < 0.5


@BOTH_SHAPES
def test_exact_growth_of_a_line_is_that_of_a_rectangle_one_pixel_high(shape: str) -> None:
    p = page()
    p[20, 10:31] = 1
    (points,) = run(p, unclip="exact", shrink_ratio=0.4, shape=shape).polygons
    # 4.64 D^2 + 42 * 0.16 D - 0.84 * 20 = 0
    distance = float(np.roots([4.64, 6.72, -16.8]).max())
    expected = (10 - distance, 19.5 - distance, 30 + distance, 20.5 + distance)
    assert bounds(points) == pytest.approx(expected, abs=1e-3)


def test_each_way_to_grow_reads_its_own_setting() -> None:
    p = page()
    p[10:19, 20:45] = 1

    def grown_bounds(**changes: Any) -> tuple[float, ...]:
        return bounds(run(p, **changes).polygons[0])

    base: dict[str, Any] = {"unclip_ratio": 1.5, "shrink_ratio": 0.4}
    for unclip, unused in (("ratio", {"shrink_ratio": 0.7}), ("exact", {"unclip_ratio": 0.1})):
        assert grown_bounds(unclip=unclip, **base) == grown_bounds(unclip=unclip, **(base | unused))
    sizes = [grown_bounds(unclip="exact", shrink_ratio=r)[2] for r in (0.3, 0.4, 0.6)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_mirrored_page_has_words_in_canonical_order() -> None:
    p = page()
    p[10:19, 20:45] = 1
    for shape in ("quad", "polygon"):
        (points,) = run(p, shape=shape, affine=[[-1, 0, 59], [0, 1, 0]], size=(60, 40)).polygons
        assert signed_area(points) > 0
        np.testing.assert_array_equal(points, canonical_order(points))


@pytest.mark.parametrize(
    ("probability", "changes", "message"),
    [
        (np.zeros((1, 4, 4)), {}, r"probability: need a \(H, W\) map, got shape \(1, 4, 4\)"),
        (np.full((4, 4), np.nan), {}, r"probability: need finite values, got NaN or infinity"),
        (np.zeros((4, 4)), {"affine": np.eye(2, 3)}, r"size: need the page's .* got None"),
        (np.zeros((4, 4)), {"affine": np.eye(3), "size": (4, 4)}, r"affine: need an invertible"),
        (np.full((4, 4), np.inf), {}, r"probability: need finite values, got NaN or infinity"),
        (np.zeros((4, 4)), {"affine": np.full((2, 3), np.nan), "size": (4, 4)}, r"affine: need an"),
        (np.zeros((4, 4)), {"affine": np.zeros((2, 3)), "size": (4, 4)}, r"affine: need an inv"),
    ],
)
def test_unusable_input_is_named(
    probability: NDArray[Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(probability, **changes)


def exact_growth(area: float, length: float) -> float:
    """The D that a shape of this area and length, offset with square corners, was shrunk by.

    It had the area A + L D + 4 D^2 and the length L + 8 D, and D is 0.84 of their quotient.
    """
    return float(max(np.roots([8 - 0.84 * 4, (1 - 0.84) * length, -0.84 * area]).real))


def test_a_quad_grown_exactly_is_the_rectangle_of_the_grown_outline_by_hand() -> None:
    """A word bent like a U: what was shrunk was 6 px thick, not 20 as the rectangle around it."""
    p = page(60, 100)
    p[35:42, 20:81] = p[21:42, 20:27] = p[21:42, 74:81] = 1  # pixel centres: 60 x 20, 6 thick
    grow = exact_growth(60 * 6 + 2 * 6 * 14, 2 * (60 + 20 + 14))
    (points,) = run(p, unclip="exact").polygons
    # Contours cut the two inner corners by a pixel, and a side may move inwards by one. The
    # rectangle alone would grow by 13 px.
    inwards = np.subtract(bounds(points), (20 - grow, 21 - grow, 80 + grow, 41 + grow))
    assert inwards == pytest.approx((1, 1, -1, -1), abs=0.2)
    assert exact_growth(60 * 20, 160) > grow + 5
    (ratio,) = run(p, unclip_ratio=1.5).polygons  # of the rectangle, as the papers do
    grow = 60 * 20 * 1.5 / 160
    assert bounds(ratio) == pytest.approx((20 - grow, 21 - grow, 80 + grow, 41 + grow), abs=0.01)


def test_a_rectangle_grown_exactly_is_the_same_from_its_outline() -> None:
    p = page()
    p[10:19, 20:45] = 1  # 24 x 8
    candidates = find_candidates(p, thresh=0.5, score_mode="fast", dilate=False, epsilon=0.002)
    found = grown(candidates, unclip="exact")
    grow = exact_growth(24 * 8, 64)
    expected = (20 - grow, 10 - grow, 44 + grow, 18 + grow)
    assert bounds(found.polygons[0]) == pytest.approx(expected, abs=0.03)  # arcs are chords
    assert len(found.polygons[0]) == 4
    assert found.sides[0] == pytest.approx(8 + 2 * grow, abs=0.06)


def test_a_quad_grown_exactly_is_as_large_as_what_grew_where_a_region_bulges() -> None:
    """A third of a kernel is two pixels thicker; a rectangle around it is so everywhere."""
    p = page(60, 160)
    p[20:31, 30:121] = 1
    p[31:33, 60:91] = 1
    (quad,) = run(p, unclip="exact").polygons
    (outline,) = run(p, unclip="exact", shape="polygon").polygons
    (contour,), _ = cv2.findContours(p.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kernel = Polygon(contour[:, 0])
    grow = exact_growth(kernel.area, kernel.length)
    square_corners = Polygon(outline).area + (4 - np.pi) * grow**2
    assert Polygon(quad).area == pytest.approx(square_corners, rel=0.01)
    assert np.prod(cv2.minAreaRect(outline)[1]) > 1.03 * square_corners


def test_a_quad_grown_exactly_moves_a_pixel_inwards_at_most() -> None:
    """A triangle fills half of its rectangle; half an area would cut the word's ends off."""
    p = page(60, 100)
    cv2.fillPoly(p, [np.array([[20, 40], [80, 40], [50, 15]])], 1.0)
    (points,) = run(p, unclip="exact").polygons
    (outline,) = run(p, unclip="exact", shape="polygon").polygons
    around = cv2.minAreaRect(outline)[1]
    assert sorted(cv2.minAreaRect(points)[1]) == pytest.approx(np.sort(around) - 2, abs=0.01)
