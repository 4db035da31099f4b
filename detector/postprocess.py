"""Probability map -> word polygons with scores, in source pixels (arXiv:1911.08947, 3.5).

Pixel (row i, column j) has its centre at x = j, y = i, and a region's outline runs through the
centres of its outermost pixels. That undoes `cv2.fillPoly`, which draws the training kernels and
sets every pixel that an outline passes through: a perfect kernel grown by the exact distance
gives the word back without bias, whereas measuring pixels as unit squares makes it too thick
(by 2.7 px for a 60 x 16 px word).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import InputError
from detector.geometry import (
    Points,
    canonical_order,
    clip_to_image,
    offset_polygon,
    transform_points,
)

# A region one pixel thick has an outline without area, yet it covers its pixels.
_MIN_REGION_PX = 1.0
# Below this mean thickness (2 A / L, pixels) an outline is a line and has no inside to grow.
_LINE_PX = 0.5

Contour = NDArray[np.int32]  # (K, 2) xy, pixel centres of the map


@dataclass(frozen=True)
class Detections:
    """The words found on one page, best score first.

    polygons: `(K, 2)` float32 xy in source pixels, within the page, in canonical order.
    scores: `(N,)` float32, mean probability of each word's region.
    """

    polygons: list[Points]
    scores: NDArray[np.float32]


def detect(
    probability: NDArray[np.float32],
    *,
    thresh: float,
    box_thresh: float,
    unclip_ratio: float,
    max_candidates: int,
    min_side_px: float,
    shape: Literal["quad", "polygon"],
    score_mode: Literal["fast", "slow"],
    dilate: bool,
    epsilon: float,
    affine: ArrayLike | None = None,
    size: tuple[int, int] | None = None,
) -> Detections:
    """The words of a `(H, W)` float32 probability map.

    Regions above `thresh` are scored, those below `box_thresh` dropped, the best
    `max_candidates` kept, simplified, grown back by area * unclip_ratio / length, dropped
    when thinner than `min_side_px` model pixels, taken to the page by the inverse of
    `affine` (source -> map, `(2, 3)`) and clipped to `size` (width, height of the page).
    Without an affine the page is the map. Holes are no regions; text in a hole is.

    Raises InputError when the map is not two-dimensional or not finite, when an affine
    comes without a size, or when it cannot be inverted.
    """
    p, inverse, page = _checked(probability, affine, size)
    contours = _outlines(p, thresh, dilate)
    scored = [_simplified(c, epsilon) for c in contours] if score_mode == "slow" else contours
    scores = np.array([_mean_inside(p, c) for c in scored], dtype=np.float32)
    best = _best(contours, scores, box_thresh, max_candidates)
    kept, scores = [contours[i] for i in best], scores[best]

    # A 2 x 2 dilation adds a pixel on the right and below: half a pixel off centre.
    shift = -0.5 if dilate else 0.0
    if shape == "quad":
        grown = _grown_quads(kept, unclip_ratio)
    else:
        grown = [_grown_polygon(_simplified(c, epsilon), unclip_ratio) for c in kept]
    wide = [i for i, points in enumerate(grown) if _short_side(points) >= min_side_px]
    polygons = _on_page([grown[i] + np.float32(shift) for i in wide], inverse, page)
    # A polygon without area lay wholly in the padding beside the page.
    found = [k for k, points in enumerate(polygons) if cv2.contourArea(points) > 0]
    indices = np.array([wide[k] for k in found], np.intp)
    return Detections([polygons[k] for k in found], scores[indices])


def _checked(
    probability: NDArray[np.float32], affine: ArrayLike | None, size: tuple[int, int] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[int, int]]:
    p = np.ascontiguousarray(probability, dtype=np.float32)
    if p.ndim != 2:
        raise InputError(f"probability: need a (H, W) map, got shape {p.shape}")
    if not np.isfinite(p).all():
        raise InputError("probability: need finite values, got NaN or infinity from the model")
    if affine is None:
        return p, np.eye(2, 3), size or (p.shape[1], p.shape[0])
    if size is None:
        raise InputError("size: need the page's (width, height) with an affine, got None")
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (2, 3) or not abs(np.linalg.det(matrix[:, :2])) > 0:
        raise InputError(f"affine: need an invertible (2, 3) matrix, got {matrix.tolist()}")
    linear = np.linalg.inv(matrix[:, :2])
    return p, np.column_stack([linear, -linear @ matrix[:, 2]]), size


def _outlines(p: NDArray[np.float32], thresh: float, dilate: bool) -> list[Contour]:
    """Outer outlines of the regions above `thresh`, including regions in holes of others."""
    if not p.size:
        return []
    binary = (p > thresh).view(np.uint8)
    if dilate:
        binary = cv2.dilate(binary, np.ones((2, 2), np.uint8)).astype(np.uint8, copy=False)
    found, tree = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not found:
        return []
    outer = np.flatnonzero(tree[0, :, 3] < 0)  # a hole has a parent, a region has none
    return [_points(found[i]) for i in outer.tolist()]


def _simplified(contour: Contour, epsilon: float) -> Contour:
    return _points(cv2.approxPolyDP(contour, epsilon * cv2.arcLength(contour, True), True))


def _points(array: NDArray[Any]) -> Contour:
    return array.reshape(-1, 2).astype(np.int32, copy=False)


def _mean_inside(p: NDArray[np.float32], contour: Contour) -> float:
    """Mean probability of the pixels on and inside a contour, holes included."""
    x, y, width, height = cv2.boundingRect(contour)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [contour], 1, offset=(-x, -y))
    return cv2.mean(p[y : y + height, x : x + width], mask)[0]


def _best(
    contours: list[Contour], scores: NDArray[np.float32], box_thresh: float, limit: int
) -> NDArray[np.intp]:
    """Indices of the candidates, best first; equal scores from top to bottom."""
    if not contours:
        return np.zeros(0, np.intp)
    first = np.array([c[0] for c in contours])
    order = np.lexsort((first[:, 0], first[:, 1], -scores))
    return order[scores[order] >= box_thresh][:limit]


def _grown_quads(contours: list[Contour], ratio: float) -> list[Points]:
    """Minimum-area rectangles grown by D = A * ratio / L on every side.

    The minimum-area rectangle of a rectangle offset by D with rounded joins is that
    rectangle with its sides moved by D, so no clipping is needed.
    """
    if not contours:
        return []
    rects = [cv2.minAreaRect(c) for c in contours]
    centre = np.array([r[0] for r in rects])
    side = np.maximum([r[1] for r in rects], _MIN_REGION_PX)
    angle = np.deg2rad([r[2] for r in rects])
    # Both sides grow by 2 D = 2 A * ratio / L, where L is twice their sum.
    side = side + side.prod(axis=1, keepdims=True) * ratio / side.sum(axis=1, keepdims=True)
    u = np.stack([np.cos(angle), np.sin(angle)], axis=1) * side[:, :1] / 2
    v = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * side[:, 1:] / 2
    corners = np.stack([-u - v, u - v, u + v, v - u], axis=1) + centre[:, None]
    return list(corners.astype(np.float32))


def _grown_polygon(outline: Contour, ratio: float) -> Points:
    """The outline grown by D = A * ratio / L; a line or point gives its grown rectangle."""
    area, length = cv2.contourArea(outline), cv2.arcLength(outline, True)
    if length and 2 * area >= _LINE_PX * length:
        pieces = offset_polygon(outline, area * ratio / length)
        if pieces:
            return pieces[0]
    return _grown_quads([outline], ratio)[0]


def _on_page(
    polygons: list[Points], inverse: NDArray[np.float64], page: tuple[int, int]
) -> list[Points]:
    """The polygons in source pixels, clipped to the page and in canonical order."""
    if not polygons:
        return []
    points = clip_to_image(transform_points(np.concatenate(polygons), inverse), *page)
    ends = np.cumsum([len(p) for p in polygons])[:-1]
    return [canonical_order(p) for p in np.split(points, ends)]


def _short_side(points: Points) -> float:
    return float(min(cv2.minAreaRect(points)[1]))
