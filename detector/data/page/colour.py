"""Colour and contrast of a page, pixel by pixel; nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def adjust_colour(
    image: NDArray[np.uint8], *, brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Saturation, brightness and contrast, 1 = unchanged, in one pass with one rounding.

    The blends are torchvision's (towards the pixel's luma, black, and the mean luma of the
    image). They are linear, so they are one 3 x 4 matrix. Its mean is a sum of integers;
    torchvision's float mean depends on the number of threads, and with it the crop.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        The same shape, uint8, clipped to [0, 255].
    """
    mean_luma = float(_LUMA @ np.array(cv2.mean(image)[:3]))
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    offset = (1 - contrast) * brightness * mean_luma
    matrix = np.column_stack([contrast * brightness * mix, np.full(3, offset)])
    return cv2.transform(image, matrix)  # type: ignore[return-value]


def on_luma(
    image: NDArray[np.uint8], change: Callable[[NDArray[np.uint8]], Any]
) -> NDArray[np.uint8]:
    """`change` applied to the luma of an RGB image, (H, W) uint8 to the same, colours kept."""
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    planes[..., 0] = change(np.ascontiguousarray(planes[..., 0]))
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)  # type: ignore[return-value]


def equalize_locally(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """CLAHE of luma in 8 x 8 parts of an (H, W, 3) uint8 RGB image (Zuiderveld 1994)."""
    return on_luma(image, cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply)


def equalize(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Histogram equalisation of the luma of an (H, W, 3) uint8 RGB image."""
    return on_luma(image, cv2.equalizeHist)
