from __future__ import annotations

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.data.synthetic.warp import MAX_SLOPE, RELIEF_STEP, Warp, make_relief, place


def flat(height=0.0, view=(0.0, 0.0), homography=None, size=(200, 160)):
    relief = np.full((60, 60), height, np.float32)
    return Warp(relief, np.array(view), np.eye(3) if homography is None else homography, size)


def random_warp(seed, shape=(400, 250)):
    rng = np.random.default_rng(seed)
    relief = make_relief(shape, 1.0, rng)
    frame = (-20.0, -20.0, shape[1] + 20.0, shape[0] + 20.0)
    homography, size = place(
        shape, frame, degrees=rng.uniform(-40, 40), perspective=0.06, longest_side_px=512, rng=rng
    )
    return Warp(relief, rng.uniform(-0.9, 0.9, 2), homography, size)


def test_a_flat_sheet_seen_straight_keeps_its_boxes():
    (polygon,) = flat().outlines(np.array([(10, 20, 50, 30)]))
    np.testing.assert_allclose(polygon, [(10, 20), (50, 20), (50, 30), (10, 30)])


def test_a_raised_sheet_moves_by_height_times_view():
    warp = flat(height=8, view=(0.5, -0.25))
    np.testing.assert_allclose(warp.to_paper(np.array([(10.0, 10.0)])), [(14, 8)])
    np.testing.assert_allclose(warp.to_image(np.array([(14.0, 8.0)])), [(10, 10)], atol=1e-5)


def test_a_bent_word_gets_eight_points():
    warp = flat(view=(0.0, 1.0))
    ridge = np.maximum(0, 6 - np.abs(np.arange(60) * RELIEF_STEP - 100) * 0.2)
    warp.relief[:] = ridge[None]
    bent, straight = warp.outlines(np.array([(60, 40, 140, 60), (150, 40, 190, 60)]))
    assert bent.shape == (8, 2)
    assert straight.shape == (4, 2)
    # 26.67 px from the left end the ridge is 6 - 13.33 * 0.2 = 3.33 high: moved up by that.
    np.testing.assert_allclose(bent[1], (86.667, 40 - 3.333), atol=0.01)


@examples(25)
@given(st.integers(0, 10_000))
def test_to_image_inverts_to_paper(seed):
    warp = random_warp(seed)
    points = np.random.default_rng(seed).uniform((0, 0), (250, 400), (50, 2))
    np.testing.assert_allclose(warp.to_paper(warp.to_image(points)), points, atol=0.02)


@examples(25)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_relief_is_gentle_enough_to_invert(seed, strength):
    relief = make_relief((300, 200), strength, np.random.default_rng(seed))
    slope_y, slope_x = np.gradient(relief, RELIEF_STEP)
    assert np.hypot(slope_x, slope_y).max() <= MAX_SLOPE


@pytest.mark.parametrize("seed", range(5))
def test_pixels_and_outlines_move_together(seed):
    warp = random_warp(seed)
    box = (60, 150, 190, 180)
    sheet = np.zeros((400, 250), np.uint8)
    sheet[150:180, 60:190] = 255
    maps = warp.to_full(warp.grid()) - np.float32(0.5)
    seen = cv2.remap(sheet, maps, None, cv2.INTER_LINEAR) > 127
    drawn = np.zeros(seen.shape, np.uint8)
    (polygon,) = warp.outlines(np.array([box]))
    cv2.fillPoly(drawn, [np.rint((polygon - 0.5) * 16).astype(np.int32)], 1, shift=4)
    overlap = (seen & (drawn > 0)).sum() / (seen | (drawn > 0)).sum()
    assert overlap > 0.9


@pytest.mark.parametrize("degrees", [0, 30, 90, -90])
def test_the_frame_fills_the_image(degrees):
    rng = np.random.default_rng(0)
    homography, size = place(
        (400, 200),
        (-10, -10, 210, 410),
        degrees=degrees,
        perspective=0.05,
        longest_side_px=640,
        rng=rng,
    )
    assert max(size) == 640
    corners = np.array([(-10, -10), (210, -10), (210, 410), (-10, 410)], np.float32)[None]
    seen = cv2.perspectiveTransform(corners, homography)[0]
    np.testing.assert_allclose(seen.min(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(seen.max(axis=0), size, atol=0.51)
