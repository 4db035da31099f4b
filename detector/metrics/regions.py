"""Polygons as shapely 2 arrays: the areas and inclusions that both metrics count.

Polygons are `(K, 2)` xy in pixels. Nothing here raises for a bad polygon: it becomes an
empty region, which overlaps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

# Beyond this many pixels a coordinate is a fault, and areas would lose their whole pixels.
MAX_COORDINATE = 2.0**31
# Edges tested at a time: bounds the memory on pages where everything overlaps.
_CHUNK = 1 << 20


def as_points(polygon: ArrayLike) -> NDArray[np.float64]:
    """`(K, 2)` float64 points, or `(0, 2)` when the numbers describe no polygon.

    That is the case for fewer than three points, for anything but xy pairs, and for
    coordinates that are not finite or beyond `MAX_COORDINATE`.
    """
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        return np.zeros((0, 2))
    if not (np.abs(points) <= MAX_COORDINATE).all():  # also false for NaN
        return np.zeros((0, 2))
    return points


def to_regions(polygons: Sequence[NDArray[np.float64]]) -> NDArray[np.object_]:
    """`(N,)` shapely geometries of polygons made by `as_points`.

    Outlines that cross themselves are filled by the even-odd rule (a bow-tie keeps both
    halves); degenerate ones are empty.
    """
    regions = np.full(len(polygons), shapely.Polygon(), dtype=object)
    kept = [i for i, p in enumerate(polygons) if len(p)]
    if not kept:
        return regions
    closed = [np.concatenate([polygons[i], polygons[i][:1]]) for i in kept]
    owner = np.repeat(np.arange(len(kept)), [len(ring) for ring in closed])
    shapes: NDArray[np.object_] = np.asarray(
        shapely.polygons(shapely.linearrings(np.concatenate(closed), indices=owner))
    )
    broken = ~shapely.is_valid(shapes)
    # make_valid leaves the lines of a degenerate outline behind; buffer(0) drops them
    shapes[broken] = shapely.buffer(shapely.make_valid(shapes[broken]), 0)
    regions[kept] = shapes
    return regions


def overlap_areas(first: NDArray[np.object_], second: NDArray[np.object_]) -> NDArray[np.float64]:
    """`(N, M)` areas shared by two arrays of regions, in square pixels.

    Only pairs whose bounding boxes meet are intersected.
    """
    areas = np.zeros((len(first), len(second)))
    if not areas.size:
        return areas
    rows, columns = shapely.STRtree(second).query(first)
    areas[rows, columns] = shapely.area(shapely.intersection(first[rows], second[columns]))
    return areas


def points_inside(
    points: NDArray[np.float64], polygons: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index pairs `(point, polygon)` of the `(P, 2)` points inside outlines.

    Even-odd rule. Points on the left and upper border are inside, those on the right and
    lower border are not, so a point on an edge that two polygons share is in one of them.
    """
    kept = np.array([i for i, p in enumerate(polygons) if len(p)], dtype=np.intp)
    if not len(points) or not len(kept):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    outlines = _padded([polygons[i] for i in kept])
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    tree = shapely.STRtree(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
    which, where = tree.query(shapely.points(points))
    size = max(1, _CHUNK // outlines.shape[1])
    inside = [
        _inside(points[which[i : i + size]], outlines[where[i : i + size]])
        for i in range(0, len(which), size)
    ]
    chosen = np.concatenate(inside) if inside else np.zeros(0, bool)
    return which[chosen], kept[where[chosen]]


def _padded(polygons: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """`(N, K, 2)`: the last point repeated, which adds edges without length."""
    lengths = np.array([len(p) for p in polygons])
    steps = np.minimum(np.arange(lengths.max())[None], lengths[:, None] - 1)
    return np.concatenate(polygons)[steps + (np.cumsum(lengths) - lengths)[:, None]]


def _inside(points: NDArray[np.float64], outlines: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`(P,)`: whether point i lies in outline i, by the edges crossed to its right."""
    x, y = points[:, :1], points[:, 1:]
    x0, y0 = outlines[..., 0], outlines[..., 1]
    x1, y1 = np.roll(x0, -1, axis=1), np.roll(y0, -1, axis=1)
    crosses = (y0 > y) != (y1 > y)
    rise = np.where(crosses, y1 - y0, 1.0)
    right = x < x0 + (x1 - x0) * (y - y0) / rise
    return ((crosses & right).sum(axis=1) % 2).astype(bool)


def box_sides(points: NDArray[np.float64]) -> tuple[float, float]:
    """Horizontal and vertical side of the smallest rotated box around `(K, 2)` points.

    Horizontal is the side within 45 degrees of the x axis. `(0, 0)` without points.
    """
    if not len(points):
        return 0.0, 0.0
    local = (points - points[0]).astype(np.float32)  # float32 is exact near the origin only
    _, (width, height), angle = cv2.minAreaRect(local)
    if abs(np.cos(np.radians(angle))) < np.sqrt(0.5):
        width, height = height, width
    return float(width), float(height)
