"""True and predicted polygons on a page, in colours that colour-blind people tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

# From the palette of Okabe and Ito (2008): blue and vermilion differ in every kind of
# colour blindness, and in lightness when printed in grey.
TRUE = (0, 114, 178)
PREDICTED = (213, 94, 0)
IGNORED = (128, 128, 128)

SHIFT = 4  # cv2 draws at 1/16 px
_FAR_PX = 2**20  # cv2 takes int32 coordinates; nothing drawn is further away


def draw(
    image: NDArray[np.uint8],
    *,
    predicted: Sequence[ArrayLike] = (),
    true: Sequence[ArrayLike] = (),
    ignored: Sequence[ArrayLike] = (),
    scores: Sequence[float] | NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """A copy of the page with outlines: ignored grey, true blue and wide, predicted orange.

    Predictions are drawn last and half as wide, so that both show where they coincide.
    Lines widen with the page.

    Args:
        image: (H, W, 3) uint8 RGB.
        predicted, true, ignored: (K, 2) xy polygons in pixels of `image`; may lie outside.
        scores: one number per prediction, written above it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: when `scores` does not match `predicted`, or a coordinate is not finite.
    """
    if scores is not None and len(scores) != len(predicted):
        raise ValueError(
            f"scores: need one per predicted polygon, got {len(scores)} for {len(predicted)}"
        )
    canvas = np.array(image, dtype=np.uint8, order="C")
    width = max(1, round(max(canvas.shape[:2]) / 640))
    _outlines(canvas, ignored, IGNORED, width)
    _outlines(canvas, true, TRUE, 2 * width)
    _outlines(canvas, predicted, PREDICTED, width)
    for polygon, score in zip(predicted, scores if scores is not None else (), strict=False):
        _label(canvas, polygon, f"{score:.2f}", width)
    return canvas


def _outlines(
    canvas: NDArray[np.uint8],
    polygons: Sequence[ArrayLike],
    colour: tuple[int, int, int],
    width: int,
) -> None:
    lines = [points for points in (fixed_point(p) for p in polygons) if len(points)]
    cv2.polylines(canvas, lines, True, colour, width, cv2.LINE_AA, SHIFT)


def _label(canvas: NDArray[np.uint8], polygon: ArrayLike, text: str, width: int) -> None:
    points = fixed_point(polygon) >> SHIFT
    size = np.array(canvas.shape[1::-1])
    if not len(points) or (points.max(axis=0) < 0).any() or (points.min(axis=0) >= size).any():
        return  # nothing of it shows, so neither does its score
    x, y = (int(v) for v in points.min(axis=0))
    origin = (max(0, x), max(10 * width, y - 2 * width))
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.35 * width, PREDICTED, width)


def fixed_point(polygon: ArrayLike) -> NDArray[np.int32]:
    """(K, 2) int32 in units of 1/16 px."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError(f"a polygon has a coordinate that is not finite: {points.tolist()}")
    return np.rint(np.clip(points, -_FAR_PX, _FAR_PX) * 2**SHIFT).astype(np.int32)
