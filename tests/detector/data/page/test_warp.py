from __future__ import annotations

import cv2
import numpy as np
import pytest

from detector.data.page.warp import warp

FILL = (10, 200, 30)


def scaling(scale: float, x: float = 0, y: float = 0) -> np.ndarray:
    """Zoom about the outer corner of the first pixel, then shift."""
    offset = 0.5 * scale - 0.5
    return np.array([[scale, 0, offset + x], [0, scale, offset + y], [0, 0, 1.0]])


def smooth(width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def test_identity_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp(image, np.eye(3), (30, 20), FILL), image)


def test_outside_is_filled() -> None:
    image = np.full((10, 10, 3), 255, np.uint8)
    out = warp(image, scaling(1, 5, 5), (20, 20), FILL)
    assert (out[5:15, 5:15] == 255).all()
    out[5:15, 5:15] = FILL
    assert (out == FILL).all()


def test_nothing_visible() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    out = warp(image, scaling(1, 500, 0), (8, 6), FILL)
    assert out.shape == (6, 8, 3)
    assert (out == FILL).all()


def test_reading_only_the_visible_part_changes_nothing() -> None:
    image = smooth(400, 300)
    matrix = np.array([[1.1, 0.2, -250.0], [-0.2, 1.0, -30.0], [1e-4, 2e-4, 1.0]])
    whole = cv2.warpPerspective(image, matrix, (96, 64), borderValue=FILL)
    part = warp(image, matrix, (96, 64), FILL)
    # Coordinates are rounded to 1/32 px, so a shifted origin may move a grey level by one.
    assert np.abs(whole.astype(int) - part).max() <= 2


@pytest.mark.parametrize("scale", [0.9, 0.7, 0.6, 0.51])
def test_non_integer_shrinking_is_close_to_area_averaging(scale: float) -> None:
    image = smooth(400, 300)
    width, height = round(400 * scale), round(300 * scale)
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(float)
    x, y = width / 400, height / 300
    matrix = np.diag([x, y, 1.0])
    matrix[:2, 2] = 0.5 * x - 0.5, 0.5 * y - 0.5
    error = np.abs(warp(image, matrix, (width, height), FILL) - expected)[2:-2, 2:-2]
    assert error.mean() < 1


@pytest.mark.parametrize("block", [2, 4, 8])
def test_fine_stripes_become_grey_instead_of_aliasing(block: int) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2] = 255
    out = warp(image, scaling(1 / block), (64 // block, 64 // block), FILL)
    assert np.abs(out.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (63, 61), (5, 3000)])
@pytest.mark.parametrize("scale", [0.01, 0.3, 0.5, 1.0, 3.0])
def test_uniform_pages_stay_uniform(size: tuple[int, int], scale: float) -> None:
    image = np.full((size[1], size[0], 3), 77, np.uint8)
    out = warp(image, scaling(scale), (64, 64), (77, 77, 77))
    assert (out == 77).all()


def test_crop_beyond_the_horizon_shows_the_page_once() -> None:
    image = np.full((20, 20, 3), 255, np.uint8)
    # Depth 1 + x / 40: the horizon of the source is at x = -40, that of the result at x = 40.
    matrix = np.array([[1.0, 0, 0], [0, 1.0, 0], [1 / 40, 0, 1.0]])
    out = warp(image, matrix, (200, 100), (0, 0, 0))
    right, bottom = 20 / (1 + 20 / 40), 20
    assert out[:20, :12].max() == 255
    assert (out[:, int(right) + 2 :] == 0).all()
    assert (out[bottom + 1 :] == 0).all()


def test_page_beyond_the_size_cv2_can_address() -> None:
    image = np.zeros((2, 40_000, 3), np.uint8)
    image[:, 39_990:] = 255
    out = warp(image, scaling(1, -39_980), (20, 2), FILL)
    assert (out[:, :10] == 0).all()
    assert (out[:, 10:] == 255).all()
