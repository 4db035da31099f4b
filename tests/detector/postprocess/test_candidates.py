from __future__ import annotations

import cv2
import numpy as np
import pytest

from detector.postprocess.candidates import find_candidates, simplified


def outline(*points: tuple[int, int]) -> np.ndarray:
    return np.array(points, np.int32)


def test_steps_of_the_pixel_grid_are_no_corners():
    """A slanted edge, 40 px long and 1 px high, is a staircase of two: points 0.5 px off it."""
    stairs = outline((0, 0), (19, 0), (20, 1), (40, 1), (40, 20), (0, 20))
    kept = simplified(stairs, 1e-6).tolist()
    assert [0, 0] in kept
    assert [40, 20] in kept
    assert len(kept) == 4


def test_a_bump_of_more_than_a_pixel_stays():
    bump = outline((0, 0), (18, 0), (20, -2), (22, 0), (40, 0), (40, 20), (0, 20))
    assert [20, -2] in simplified(bump, 1e-6).tolist()
    assert [20, -2] not in simplified(bump, 0.02).tolist()  # 2.4 px of 122


def test_thin_outlines_keep_smaller_steps():
    """2 x 40 px: a thickness of 1.9 px, so points more than 0.38 px off stay."""
    stairs = outline((0, 0), (20, 0), (21, 1), (40, 1), (40, 3), (21, 3), (20, 2), (0, 2))
    assert len(simplified(stairs, 1e-6)) > 4
    thick = outline((0, 0), (20, 0), (21, 1), (40, 1), (40, 23), (21, 23), (20, 22), (0, 22))
    assert len(simplified(thick, 1e-6)) == 4


def test_no_simplification_keeps_every_point():
    stairs = outline((0, 0), (19, 0), (20, 1), (40, 1), (40, 20), (0, 20))
    np.testing.assert_array_equal(simplified(stairs, 0.0), stairs)


def test_candidates_come_best_first_and_ties_from_top_to_bottom():
    p = np.zeros((40, 60), np.float32)
    p[2:6, 30:50] = 0.5
    p[2:6, 2:20] = 0.5
    p[20:26, 2:20] = 0.875
    found = find_candidates(p, thresh=0.3, score_mode="fast", dilate=False, epsilon=0.002)
    assert [c.min(axis=0).tolist() for c in found.contours] == [[2, 20], [2, 2], [30, 2]]
    np.testing.assert_allclose(found.scores, [0.875, 0.5, 0.5])
    assert len(found.first(2)) == 2
    np.testing.assert_array_equal(found.first(2).scores, found.scores[:2])


def test_boxes_are_those_of_opencv_and_at_least_a_pixel_wide():
    p = np.zeros((40, 60), np.float32)
    p[10:16, 5:25] = 1
    p[30, 5:25] = 0.75
    found = find_candidates(p, thresh=0.3, score_mode="fast", dilate=False, epsilon=0.002)
    area, length = found.boxes.measure()
    assert area.tolist() == pytest.approx([19 * 5, 19 * 1])
    assert length.tolist() == pytest.approx([2 * 24, 2 * 20])
    assert found.boxes.short_sides().tolist() == pytest.approx([5, 1])
    assert cv2.minAreaRect(found.contours[0])[0] == pytest.approx(found.boxes.centre[0])
