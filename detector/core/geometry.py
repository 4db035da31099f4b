"""Polygon geometry in floats. Points are `(K, 2)` xy with y pointing down, in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
import pyclipper
from numpy.typing import ArrayLike, NDArray

# pyclipper works on integers; this keeps 1/1024 px of a coordinate up to about 2**20 px.
_CLIPPER_SCALE = 1024.0
_FAR_PX = 2.0**20

Points = NDArray[np.float32]
Floats = NDArray[np.float64]
Counts = NDArray[np.intp]
Box = tuple[int, int, int, int]
_Path = Sequence[Sequence[int]]  # in units of the clipper


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


def exact_distance(area: ArrayLike, length: ArrayLike, shrink_ratio: float) -> Floats:
    """Pixels by which a shrunk rectangle must grow to be the original again, per rectangle.

    Shrinking moves the sides inwards by D = A0 c / L0 with c = 1 - shrink_ratio^2
    (arXiv:1911.08947, eq. 10), where A0, L0 are the area and length of the original. With
    the area A and length L of what is left, A0 = A + L D + 4 D^2 and L0 = L + 8 D, so D is
    the positive root of (8 - 4 c) D^2 + L (1 - c) D - c A = 0.
    """
    a, p = np.asarray(area, np.float64), np.asarray(length, np.float64)
    c = 1 - shrink_ratio**2
    linear = p * (1 - c)
    # The root in the form that subtracts nothing, so that no digits cancel.
    return 2 * c * a / (linear + np.sqrt(linear * linear + 4 * (8 - 4 * c) * c * a))


def offset_polygon(points: ArrayLike, distance: float, arc_px: float = 0.05) -> list[Points]:
    """Offset a polygon by `distance` pixels: outwards if positive, inwards if negative.

    Vatti clipping with rounded joins, as DBNet uses for shrinking and unclipping
    (arXiv:1911.08947, eq. 10); coordinates are rounded to 1/1024 px, and the chords that
    round a corner stay within about `arc_px` of its arc. Returns the outlines of the pieces,
    largest area first, without the holes. None when the polygon vanishes, has fewer than
    three distinct points, is not finite or lies beyond a million pixels.
    """
    p = np.asarray(points, dtype=np.float64)
    if len(p) < 3 or not np.isfinite(distance) or not (np.abs(p) <= _FAR_PX).all():
        return []
    origin = np.floor(p[0])  # so that a move by whole pixels moves the result exactly
    path = np.rint((p - origin) * _CLIPPER_SCALE).astype(np.int64).tolist()
    clipper = pyclipper.PyclipperOffset(2.0, arc_px * _CLIPPER_SCALE)
    pieces = [
        np.array(s, dtype=np.float64) / _CLIPPER_SCALE + origin
        for s in _offset(clipper, path, distance)
    ]
    return [s.astype(np.float32) for s in pieces]


def offset_largest(
    points: Floats, counts: Counts, distances: Floats, arc_px: float = 0.05
) -> tuple[Floats, Counts]:
    """The largest piece of every polygon's offset, as `offset_polygon` one by one.

    points: `(M, 2)` float64, the points of all polygons in turn, nearer than 2**20 px.
    counts: `(N,)` how many of them each polygon has. distances: `(N,)` float64 pixels.
    Returns the same two for the pieces; a polygon that vanishes has a count of 0.
    """
    # shapely.buffer of all at once is no faster on simplified outlines and half as fast on others
    # (benchmarks/bench_postprocess.py), and gives other polygons where an outline meets itself.
    first = np.cumsum(counts) - counts
    origin = np.floor(points[first])
    steps = np.rint((points - np.repeat(origin, counts, axis=0)) * _CLIPPER_SCALE)
    x, y = steps.astype(np.int64).T.tolist()
    path = list(zip(x, y, strict=True))
    pieces: list[_Path] = []
    clipper = pyclipper.PyclipperOffset(2.0, arc_px * _CLIPPER_SCALE)
    for start, count, distance in zip(
        first.tolist(), counts.tolist(), distances.tolist(), strict=True
    ):
        found = _offset(clipper, path[start : start + count], distance)
        pieces.append(found[0] if found else [])
    grown = np.array([len(p) for p in pieces], np.intp)
    numbers = chain.from_iterable(chain.from_iterable(pieces))
    # As integers first: numpy reads Python's integers into doubles at half the speed.
    flat = np.fromiter(numbers, np.int64, count=2 * int(grown.sum())).reshape(-1, 2)
    return flat / _CLIPPER_SCALE + np.repeat(origin, grown, axis=0), grown


def _offset(clipper: pyclipper.PyclipperOffset, path: _Path, distance: float) -> list[_Path]:
    """The outlines of an offset path in units of the clipper, largest first, without holes."""
    clipper.Clear()
    try:
        clipper.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        solution = clipper.Execute(distance * _CLIPPER_SCALE)
    except pyclipper.ClipperException:  # fewer than three distinct points
        return []
    pieces = [s for s in solution if len(s) > 2]
    if len(pieces) > 1:
        # Clipper gives holes the opposite orientation to outlines.
        pieces = sorted((s for s in pieces if signed_area(s) > 0), key=polygon_area, reverse=True)
    return pieces


def next_vertices(counts: Counts) -> tuple[Counts, Counts]:
    """For outlines given point after point: `(N,)` the row where each begins, and `(M,)` the row
    of the vertex that follows each. counts: `(N,)` how many points each has, at least one."""
    ends = np.cumsum(counts)
    first = ends - counts
    following = np.arange(1, counts.sum() + 1)
    following[ends - 1] = first
    return first, following


def measures(points: Floats, counts: Counts) -> tuple[Floats, Floats]:
    """Unsigned areas and lengths of many outlines, `(N,)` float64 each.

    points: `(M, 2)` float64, the points of all outlines in turn. counts: `(N,)` how many of
    them each has, at least one. An outline's result does not depend on the others.
    """
    if not len(counts):
        return np.zeros(0), np.zeros(0)
    first, following = next_vertices(counts)
    x, y = (points - np.repeat(points[first], counts, axis=0)).T
    areas = np.add.reduceat(x * y[following] - y * x[following], first) / 2
    lengths = np.add.reduceat(np.hypot(x[following] - x, y[following] - y), first)
    return np.abs(areas), lengths


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


def canonical_orders(points: Points, counts: Counts) -> tuple[list[Points], Floats]:
    """Many polygons at once, each as `canonical_order` gives it, and their areas.

    points: `(M, 2)` float32, the points of all polygons in turn. counts: `(N,)` how many of
    them each polygon has, at least one. The areas are `(N,)` float64 square pixels. A polygon's
    result does not depend on the others, to the last bit.
    """
    if not len(counts):
        return [], np.zeros(0)
    first, following = next_vertices(counts)
    ends = first + counts
    step = np.arange(len(points)) - np.repeat(first, counts)
    p = points.astype(np.float64)
    x, y = np.ascontiguousarray((p - np.repeat(p[first], counts, axis=0)).T)
    areas = np.add.reduceat(x * y[following] - y * x[following], first) / 2
    if (areas < 0).any():
        turned = np.repeat(areas < 0, counts)
        p = p[np.where(turned, np.repeat(ends - 1, counts) - step, np.arange(len(p)))]
    start = _top_left(p, first, counts, following) - first
    source = step + np.repeat(start, counts)
    source -= np.where(source >= np.repeat(counts, counts), np.repeat(counts, counts), 0)
    source += np.repeat(first, counts)
    ordered = p[source].astype(np.float32)
    bounds = zip(first.tolist(), ends.tolist(), strict=True)
    return [ordered[a:b] for a, b in bounds], np.abs(areas)


def _top_left(p: Floats, first: Counts, counts: Counts, following: Counts) -> Counts:
    """`(N,)` rows where the polygons of `canonical_orders` start; most need only one look."""
    # In double precision: a float32 sum would round corners into false ties.
    nearness = p[:, 0] + p[:, 1]
    corner = nearness == np.repeat(np.minimum.reduceat(nearness, first), counts)
    found = np.flatnonzero(corner)
    if len(found) > len(first):  # ties: smallest y
        height = np.where(corner, p[:, 1], np.inf)
        corner = height == np.repeat(np.minimum.reduceat(height, first), counts)
        found = np.flatnonzero(corner)
    if len(found) > len(first):  # the first of a run of equal points, wherever the list begins
        begins = corner.copy()
        begins[following] &= ~corner
        rows = np.arange(len(p))
        rank = np.where(begins, rows, np.where(corner, rows + len(p), 2 * len(p)))
        found = np.minimum.reduceat(rank, first) % len(p)
    return found


def clip_to_image(points: ArrayLike, width: float, height: float) -> Points:
    """Points moved onto the image, whose pixels span `[0, width - 1] x [0, height - 1]`."""
    p = np.asarray(points, dtype=np.float32)
    return np.clip(p, 0, np.array([width - 1, height - 1], dtype=np.float32))


def transform_points(points: ArrayLike, matrix: ArrayLike) -> Points:
    """Apply a `(2, 3)` affine or `(3, 3)` homography to `(K, 2)` points."""
    p = np.asarray(points, dtype=np.float64)
    m = np.asarray(matrix, dtype=np.float64)
    x, y = p[:, 0], p[:, 1]
    # Not a matrix product: its last bits would depend on how many points there are.
    out = np.empty((len(p), 2), np.float32)
    depth = x * m[2, 0] + y * m[2, 1] + m[2, 2] if m.shape == (3, 3) else 1.0
    out[:, 0] = (x * m[0, 0] + y * m[0, 1] + m[0, 2]) / depth
    out[:, 1] = (x * m[1, 0] + y * m[1, 1] + m[1, 2]) / depth
    return out


def split(points: Points, counts: Sequence[int]) -> list[Points]:
    """`(N, 2)` points as one array for each of the counts, in order; views."""
    ends = accumulate(counts)  # numpy's own split takes ten times as long
    return [points[end - count : end] for end, count in zip(ends, counts, strict=True)]


def text_box(polygons: Sequence[Points], size: tuple[int, int], margin: float) -> Box | None:
    """`(x0, y0, x1, y1)` in pixels, ends exclusive: the extent of all polygons and a margin.

    Args:
        polygons: `(K, 2)` xy; they may reach beyond the page.
        size: (width, height) of the page, which the box does not leave.
        margin: added on all four sides, as a share of the extent's longer side.

    Returns:
        None when there is no text on the page, which then has no better part than itself.
    """
    points = np.concatenate([np.zeros((0, 2)), *polygons])
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    edge = margin * float((high - low).max())
    x0, x1 = _pixel_range(low[0] - edge, high[0] + edge, size[0])
    y0, y1 = _pixel_range(low[1] - edge, high[1] + edge, size[1])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _pixel_range(low: float, high: float, length: int) -> tuple[int, int]:
    """First pixel and end of those on [low, high]; pixel i reaches from i - 0.5 to i + 0.5."""
    first = max(0, math.floor(low + 0.5))
    end = max(math.ceil(high + 0.5), first + 1)  # a point between two pixels has one of them
    return first, min(length, end)
