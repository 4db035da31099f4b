"""Polygon geometry in floats. Points are `(K, 2)` xy with y pointing down, in pixels."""

from __future__ import annotations

import numpy as np
import pyclipper
from numpy.typing import ArrayLike, NDArray

# pyclipper works on integers; this keeps 1/1024 px of a coordinate up to about 2**20 px.
_CLIPPER_SCALE = 1024.0
_FAR_PX = 2.0**20

Points = NDArray[np.float32]


def signed_area(points: ArrayLike) -> float:
    """Shoelace area of `(K, 2)` points: positive when they run clockwise on screen."""
    p = np.asarray(points, dtype=np.float64)
    if len(p) < 3:
        return 0.0
    x, y = (p[1:] - p[0]).T  # keeps the products small for polygons far from the origin
    return float(0.5 * (np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])))


def polygon_area(points: ArrayLike) -> float:
    """Unsigned shoelace area in square pixels; 0 for fewer than three points."""
    return abs(signed_area(points))


def perimeter(points: ArrayLike) -> float:
    """Length of the closed outline in pixels; 0 for fewer than two points."""
    p = np.asarray(points, dtype=np.float64)
    if len(p) < 2:
        return 0.0
    sides = p[1:] - p[:-1]
    closing = p[0] - p[-1]
    return float(np.hypot(sides[:, 0], sides[:, 1]).sum() + np.hypot(closing[0], closing[1]))


def offset_polygon(points: ArrayLike, distance: float) -> list[Points]:
    """Offset a polygon by `distance` pixels: outwards if positive, inwards if negative.

    Vatti clipping with rounded joins, as DBNet uses for shrinking and unclipping
    (arXiv:1911.08947, eq. 10); coordinates are rounded to 1/1024 px. Returns the outlines
    of the pieces, largest area first, without the holes. None when the polygon vanishes,
    has fewer than three distinct points, is not finite or lies beyond a million pixels.
    """
    p = np.asarray(points, dtype=np.float64)
    if len(p) < 3 or not np.isfinite(distance) or not (np.abs(p) <= _FAR_PX).all():
        return []
    offset = pyclipper.PyclipperOffset(2.0, 0.05 * _CLIPPER_SCALE)
    origin = np.floor(p[0])  # so that a move by whole pixels moves the result exactly
    try:
        path = np.rint((p - origin) * _CLIPPER_SCALE).astype(np.int64).tolist()
        offset.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        solution = offset.Execute(distance * _CLIPPER_SCALE)
    except pyclipper.ClipperException:  # fewer than three distinct points
        return []
    pieces = [
        np.array(s, dtype=np.float64) / _CLIPPER_SCALE + origin for s in solution if len(s) > 2
    ]
    if len(pieces) > 1:
        # Clipper gives holes the opposite orientation to outlines.
        pieces = sorted((s for s in pieces if signed_area(s) > 0), key=polygon_area, reverse=True)
    return [s.astype(np.float32) for s in pieces]


def canonical_order(points: ArrayLike) -> Points:
    """The same outline, clockwise on screen and starting at its top-left corner.

    Top-left is the vertex with the smallest x + y (ties: smallest y). The CLEval
    pseudo-character centres depend on where a polygon starts, so the same word listed
    from another corner would otherwise score differently.
    """
    p = np.asarray(points, dtype=np.float32)
    if not len(p):
        return p.reshape(0, 2)
    if signed_area(p) < 0:
        p = p[::-1]
    # In double precision: a float32 sum would round corners into false ties.
    keys = [(x + y, y) for x, y in p.tolist()]
    start = keys.index(min(keys))
    while start > 1 - len(keys) and keys[start - 1] == keys[start]:
        start -= 1  # the first of a run of equal points, wherever the list begins
    return np.concatenate([p[start:], p[:start]])


def clip_to_image(points: ArrayLike, width: float, height: float) -> Points:
    """Points moved onto the image, whose pixels span `[0, width - 1] x [0, height - 1]`."""
    p = np.asarray(points, dtype=np.float32)
    return np.clip(p, 0, np.array([width - 1, height - 1], dtype=np.float32))


def transform_points(points: ArrayLike, matrix: ArrayLike) -> Points:
    """Apply a `(2, 3)` affine or `(3, 3)` homography to `(K, 2)` points."""
    p = np.asarray(points, dtype=np.float64)
    m = np.asarray(matrix, dtype=np.float64)
    out = p @ m[:2, :2].T + m[:2, 2]
    if m.shape == (3, 3):
        out = out / (p @ m[2, :2] + m[2, 2])[:, None]
    return out.astype(np.float32)
