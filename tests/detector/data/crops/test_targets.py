from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import Polygon

from detector.core.errors import InputError
from detector.core.geometry import perimeter, polygon_area
from detector.data.crops.targets import Targets, make_targets

# OpenCV rounds the ends of an outline to pixels (0.71 px at most), then draws it (0.5 px);
# Vatti arcs may be 0.05 px off.
DRAWN_PX = 1.28
WORD = np.array([[10, 10], [50, 10], [50, 30], [10, 30]], dtype=np.float32)  # D = 5.6
DUMBBELL = np.array(
    [
        [5, 5], [35, 5], [35, 24], [65, 24], [65, 5], [95, 5],
        [95, 45], [65, 45], [65, 26], [35, 26], [35, 45], [5, 45],
    ]
)  # fmt: skip


@st.composite
def words(draw: st.DrawFn) -> NDArray[np.float64]:
    """Rotated word boxes or 8-point outlines on a grid of 1/8 px, partly off a 96 px map."""
    width, height = draw(st.integers(4, 90)), draw(st.integers(2, 30))
    angle = draw(st.sampled_from([0.0, 0.02, 0.1, -0.3, 0.8, np.pi / 2, 2.5]))
    centre = draw(st.tuples(st.integers(-20, 116), st.integers(-20, 116)))
    corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    if draw(st.booleans()):
        corners = [[-1, -1], [0, -0.5], [1, -1], [0.9, 0], [1, 1], [0, 0.8], [-1, 1], [-0.8, 0]]
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (np.array(corners) * [width / 2, height / 2]) @ rotation.T + centre
    return np.round(points * 8) / 8


def shrink_distance(points: NDArray[np.float64], ratio: float = 0.4) -> float:
    return polygon_area(points) * (1 - ratio**2) / perimeter(points)


def pixel_centres(height: int, width: int) -> NDArray[np.object_]:
    y, x = np.mgrid[:height, :width]
    return shapely.points(x, y)


def as_arrays(targets: Targets) -> list[NDArray]:
    return [targets.shrink, targets.shrink_mask, targets.threshold, targets.threshold_mask]


def test_one_word_by_hand() -> None:
    targets = make_targets([WORD], [False], 40, 60)
    for array in as_arrays(targets):
        assert array.shape == (40, 60)
        assert array.dtype == (np.float32 if array is targets.threshold else np.uint8)
    kernel = np.zeros((40, 60))
    kernel[16:25, 16:45] = 1  # 15.6 to 24.4 by 15.6 to 44.4
    np.testing.assert_array_equal(targets.shrink, kernel)
    assert targets.shrink_mask.min() == 1

    threshold = targets.threshold
    assert threshold[10, 30] == pytest.approx(0.7)  # on the outline
    assert threshold[12, 30] == pytest.approx(0.7 - 0.4 * 2 / 5.6)  # 2 px inside
    assert threshold[8, 30] == pytest.approx(0.7 - 0.4 * 2 / 5.6)  # 2 px outside
    assert threshold[6, 7] == pytest.approx(0.7 - 0.4 * 5 / 5.6)  # (-3, -4) from a corner
    assert threshold[20, 30] == pytest.approx(0.3)  # deeper than D
    assert threshold[0, 0] == pytest.approx(0.3)

    assert targets.threshold_mask[20, 30] == 1  # inside, though beyond the band
    assert targets.threshold_mask[10 - 5, 30] == 1
    assert targets.threshold_mask[10 - 6, 30] == 0
    assert targets.threshold_mask[10 - 5, 10 - 5] == 0  # rounded: 7.07 px from the corner


def test_settings_are_used() -> None:
    targets = make_targets(
        [WORD], [False], 40, 60, shrink_ratio=0.8, threshold_min=0.1, threshold_max=0.9
    )
    assert targets.threshold.max() == pytest.approx(0.9)
    assert targets.threshold.min() == pytest.approx(0.1)
    assert targets.shrink.sum() > make_targets([WORD], [False], 40, 60).shrink.sum()


@examples(12)
@given(st.lists(words(), min_size=1, max_size=4))
def test_threshold_matches_the_distance_to_the_outlines(page: list[NDArray[np.float64]]) -> None:
    targets = make_targets(page, [False] * len(page), 96, 96, min_side_px=0)
    centres = pixel_centres(96, 96)
    nearness = np.zeros((96, 96))
    dilated = np.zeros((96, 96), bool)
    for points in page:
        reach = shrink_distance(points)
        outline = shapely.distance(Polygon(points).exterior, centres)
        nearness = np.maximum(nearness, 1 - outline / reach)
        dilated |= shapely.distance(Polygon(points), centres) < reach - 1e-6
    np.testing.assert_allclose(targets.threshold, 0.3 + 0.4 * nearness, atol=1e-5)
    # Every pixel of the dilated words; beyond them at most the drawn outline of a tiny one.
    assert targets.threshold_mask[dilated].all()
    nearest = np.min([shapely.distance(Polygon(p), centres) for p in page], axis=0)
    assert (nearest[(targets.threshold_mask > 0) & ~dilated] <= DRAWN_PX).all()


@examples(15)
@given(words())
def test_kernel_matches_the_eroded_polygon(points: NDArray[np.float64]) -> None:
    shrink = make_targets([points], [False], 96, 96, min_side_px=0).shrink
    kernel = Polygon(points).buffer(-shrink_distance(points), quad_segs=32)
    distance = shapely.distance(kernel, pixel_centres(96, 96))
    depth = shapely.distance(kernel.boundary, pixel_centres(96, 96))
    assert (shrink[distance > DRAWN_PX] == 0).all()
    assert (shrink[(distance == 0) & (depth > DRAWN_PX)] == 1).all()


@examples(60)
@given(
    st.lists(st.tuples(words(), st.booleans()), max_size=4),
    st.integers(-64, 64),
    st.integers(-64, 64),
)
def test_maps_of_a_crop_are_the_crop_of_the_maps(
    page: list[tuple[NDArray[np.float64], bool]], left: int, top: int
) -> None:
    margin = 128
    ignore = [flag for _, flag in page]
    large = make_targets([p + margin for p, _ in page], ignore, 96 + 2 * margin, 96 + 2 * margin)
    crop = make_targets([p - [left, top] for p, _ in page], ignore, 64, 80)
    window = np.s_[margin + top : margin + top + 64, margin + left : margin + left + 80]
    np.testing.assert_array_equal(crop.shrink, large.shrink[window])
    np.testing.assert_array_equal(crop.shrink_mask, large.shrink_mask[window])
    np.testing.assert_allclose(crop.threshold, large.threshold[window], atol=1e-6)
    # The rim of the mask is where 1 - d / D is 0 up to rounding.
    inner = np.abs(large.threshold[window] - 0.3) > 1e-5
    np.testing.assert_array_equal(crop.threshold_mask[inner], large.threshold_mask[window][inner])
    assert (crop.threshold_mask != large.threshold_mask[window]).mean() < 0.001


@examples(25)
@given(words())
def test_a_vertex_on_a_side_changes_nothing(points: NDArray[np.float64]) -> None:
    """A fifth vertex takes the word from the closed form to the Vatti offset."""
    middle = (points[:1] + points[1:2]) / 2
    five = np.concatenate([points[:1], middle, points[1:]])
    one, other = (make_targets([p], [False], 96, 96) for p in (points, five))
    np.testing.assert_allclose(one.threshold, other.threshold, atol=1e-5)
    # A coordinate that rounds the other way moves pixels of the kernel's rim.
    kernel = Polygon(points).buffer(-shrink_distance(points), quad_segs=32)
    moved = pixel_centres(96, 96)[one.shrink != other.shrink]
    assert (shapely.distance(kernel.boundary, moved) <= DRAWN_PX).all()


@given(st.permutations(range(3)), st.lists(words(), min_size=3, max_size=3))
@examples(20)
def test_the_order_of_words_does_not_matter(
    order: list[int], page: list[NDArray[np.float64]]
) -> None:
    flags = [False, True, False]
    one = make_targets(page, flags, 96, 96)
    other = make_targets([page[i] for i in order], [flags[i] for i in order], 96, 96)
    for a, b in zip(as_arrays(one), as_arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ignored_words_are_masked_and_teach_nothing() -> None:
    targets = make_targets([WORD], [True], 40, 60)
    assert targets.shrink.sum() == 0
    assert (targets.shrink_mask[10:31, 10:51] == 0).all()
    assert (targets.shrink_mask == 0).sum() == 21 * 41
    assert targets.threshold_mask.sum() == 0
    np.testing.assert_allclose(targets.threshold, 0.3)


def test_an_ignored_region_over_a_word_stays_masked() -> None:
    region = [[0, 0], [59, 0], [59, 39], [0, 39]]
    for page, ignore in (([WORD, region], [False, True]), ([region, WORD], [True, False])):
        targets = make_targets(page, ignore, 40, 60)
        assert targets.shrink.sum() > 0
        assert targets.shrink_mask.sum() == 0


@pytest.mark.parametrize(("height", "kept"), [(2.9, False), (3.1, True)])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_words_thinner_than_the_limit_are_masked(height: float, kept: bool, angle: float) -> None:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    box = np.array([[-20, -1], [20, -1], [20, 1], [-20, 1]]) * [1, height / 2]
    targets = make_targets([box @ rotation.T + 40], [False], 80, 80, min_side_px=3)
    assert bool(targets.shrink.any()) is kept
    assert bool(targets.shrink_mask.all()) is kept
    assert bool(targets.threshold_mask.any()) is kept


@pytest.mark.parametrize(
    "points",
    [
        [[7, 5]],
        [[7, 5]] * 4,
        [[7, 5], [20, 5]],
        [[7, 5], [20, 5], [20, 5], [7, 5]],
        [[7, 5], [13, 5], [20, 5]],
    ],
)
def test_words_without_area_are_masked(points: list[list[float]]) -> None:
    targets = make_targets([points], [False], 12, 30, min_side_px=0)
    assert targets.shrink.sum() == 0
    assert targets.threshold_mask.sum() == 0
    masked = targets.shrink_mask == 0
    assert masked[5, 7]
    assert masked[4:7].sum() == masked.sum()


def test_a_self_crossing_word_does_not_crash() -> None:
    bow_tie = [[5, 5], [45, 35], [45, 5], [5, 25]]
    assert np.isfinite(make_targets([bow_tie], [False], 40, 60).threshold).all()


def test_all_pieces_of_a_split_kernel_are_text() -> None:
    shrink = make_targets([DUMBBELL], [False], 50, 100).shrink
    assert shrink[25, 20] == 1
    assert shrink[25, 80] == 1
    assert shrink[25, 50] == 0


@pytest.mark.parametrize("polygons", [[], [np.zeros((0, 2))]])
def test_a_page_without_words(polygons: list[NDArray[np.float64]]) -> None:
    targets = make_targets(polygons, [False] * len(polygons), 8, 9)
    assert targets.shrink.sum() == 0
    assert targets.shrink_mask.all()
    assert targets.threshold_mask.sum() == 0
    np.testing.assert_allclose(targets.threshold, 0.3)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (1, 1), (1, 60), (40, 1)])
def test_maps_of_any_size(size: tuple[int, int]) -> None:
    targets = make_targets([WORD, WORD - 20], [False, True], *size)
    assert all(array.shape == size for array in as_arrays(targets))


@pytest.mark.parametrize("move", [[-200, 0], [0, 500], [1e7, 1e7], [-1e12, 0]])
def test_words_off_the_map_leave_it_blank(move: list[float]) -> None:
    for ignore in (False, True):
        targets = make_targets([WORD.astype(np.float64) + move], [ignore], 40, 60)
        assert targets.shrink_mask.all()
        assert targets.threshold_mask.sum() == 0


def test_a_word_far_larger_than_the_map() -> None:
    huge = np.array([[-1e5, -1e5], [1e5, -1e5], [1e5, 1e5], [-1e5, 1e5]])
    assert make_targets([huge], [False], 40, 60).shrink.all()
    assert not make_targets([huge], [True], 40, 60).shrink_mask.any()


def test_the_polygons_are_not_changed() -> None:
    before = WORD.copy()
    make_targets([WORD], [False], 40, 60)
    np.testing.assert_array_equal(WORD, before)


@pytest.mark.parametrize(
    ("polygons", "ignore", "message"),
    [
        ([WORD], [], r"ignore: need a flag per polygon, got 0 for 1"),
        ([WORD, [1, 2, 3]], [False] * 2, r"polygon 1: need \(K, 2\) points, got shape \(3,\)"),
        ([[[0, 0], [math.nan, 3], [4, 4]]], [False], r"polygon 0: need finite points, got .*nan"),
    ],
)
def test_unusable_input_is_named(polygons: list, ignore: list[bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_targets(polygons, ignore, 40, 60)
