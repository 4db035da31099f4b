"""Resampling an image through a homography, without aliasing and reading only what shows."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.core.geometry import transform_points

Matrix = NDArray[np.float64]


def warp(
    image: NDArray[np.uint8], matrix: Matrix, size: tuple[int, int], fill: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """`image` through a homography, antialiased where it shrinks.

    Only the part of the image that lands in the result is read. Where it shrinks by k or
    more, it is first averaged over k x k blocks and, if needed, blurred; both are folded
    into the matrix, so there is one bilinear resampling.

    Args:
        image: (H, W, 3) uint8.
        matrix: (3, 3), from pixels of `image` to pixels of the result.
        size: (width, height) of the result.
        fill: colour outside `image`.

    Returns:
        (height, width, 3) uint8.
    """
    box = _visible_box(image.shape[1], image.shape[0], matrix, size)
    if box is None:
        return np.full((size[1], size[0], 3), fill, dtype=np.uint8)
    x0, y0, x1, y1 = box
    part: NDArray[np.uint8] = image[y0:y1, x0:x1]
    scale = _scale_at(matrix, (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
    block = max(1, int(1 / scale + 1e-6))
    part = block_means(part, block)
    part = _soften(part, scale * block)
    # x = x0 + (x' + 0.5) * block - 0.5 takes pixels of `part` back to pixels of `image`.
    offset = 0.5 * block - 0.5
    unpart = np.array([[block, 0, x0 + offset], [0, block, y0 + offset], [0, 0, 1.0]])
    # Pixels of four bytes take OpenCV half the time, with the same result.
    part = cv2.cvtColor(part, cv2.COLOR_RGB2RGBA)  # type: ignore[assignment]
    colour = (*fill, 0)
    warped = cv2.warpPerspective(
        part, matrix @ unpart, size, flags=cv2.INTER_LINEAR, borderValue=colour
    )
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)  # type: ignore[return-value]


def _visible_box(
    width: int, height: int, matrix: Matrix, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1), the pixels of an image that can land in the result; None if none."""
    inverse = np.linalg.inv(matrix)
    right, bottom = size[0] - 0.5, size[1] - 0.5
    window = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    if (window @ inverse[2, :2] + inverse[2, 2] <= 0).any():
        return 0, 0, width, height  # the horizon crosses the crop: no smaller box is safe
    seen = transform_points(window, inverse)
    margin = 2 + 2 / _scale_at(matrix, *seen.mean(axis=0))
    low = np.clip(np.floor(seen.min(axis=0) - margin), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0) + margin) + 1, 0, [width, height]).astype(int)
    if (low >= high).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _scale_at(matrix: Matrix, x: float, y: float) -> float:
    """Square root of the area a unit square at (x, y) has after the homography."""
    depth = matrix[2] @ [x, y, 1.0]
    return math.sqrt(abs(np.linalg.det(matrix) / depth**3))


def block_means(image: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Mean of block x block pixels; the last row and column are repeated to fill a block."""
    if block == 1:
        return image
    height, width = image.shape[:2]
    down, right = -height % block, -width % block
    if down or right:
        image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    target = (image.shape[1] // block, image.shape[0] // block)
    return cv2.resize(image, target, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _soften(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Blurred by what bilinear sampling at `scale` in (0.5, 1] lacks to average over a pixel.

    Averaging over 1 / scale px has the variance 1 / (12 scale^2); bilinear sampling has 1/6
    on average. The difference v > 0, below a scale of 0.71, comes from taps v/2, 1 - v, v/2.
    """
    lack = 1 / (12 * scale**2) - 1 / 6
    if lack <= 0:
        return image
    taps = np.array([lack / 2, 1 - lack, lack / 2])
    return cv2.sepFilter2D(image, -1, taps, taps)  # type: ignore[return-value]
