"""Label maps of DBNet (arXiv:1911.08947, section 3.4) with their masks, in float geometry.

Polygons are `(K, 2)` xy in pixels of the map; pixel (row i, column j) has its centre at
x = j, y = i. A polygon may lie partly or wholly outside the map: the maps are then exactly
the crop of the maps that a larger canvas would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import InputError
from detector.geometry import offset_polygon

_SHIFT = 6  # sub-pixel bits of the coordinates given to cv2.fillPoly
_FAR_PX = 1e6  # beyond this, sub-pixel coordinates leave OpenCV's int32
_LEVEL = 1e-9  # smallest sine of a side's angle, against division by 0
_BATCH_PX = 2**13
_MAX_WINDOW = 2**24  # pixels of a polygon's own window; larger ones are drawn clipped

Map = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Targets:
    """What the network learns from one image; every map is `(H, W)` float32.

    shrink: 1 inside the text kernels, else 0.
    shrink_mask: 0 on words that are ignored, too small or vanish when shrunk, else 1.
    threshold: threshold_max on the outline of a word, falling to threshold_min at the
        shrink distance on either side of it and beyond; the maximum over words.
    threshold_mask: 1 on words dilated by their shrink distance (inside included), else 0.
    """

    shrink: Map
    shrink_mask: Map
    threshold: Map
    threshold_mask: Map


def make_targets(
    polygons: Sequence[ArrayLike],
    ignore: Sequence[bool],
    height: int,
    width: int,
    *,
    shrink_ratio: float = 0.4,
    threshold_min: float = 0.3,
    threshold_max: float = 0.7,
    min_side_px: float = 3.0,
) -> Targets:
    """The four maps of `polygons`, each shrunk by D = A (1 - r^2) / L (eq. 10 of the paper).

    All pieces of a kernel that splits are kept: each lies deeper than D inside the word, so
    calling it background would contradict the definition of the map. A word is ignored when
    flagged, when the short side of its minimum-area rectangle is below `min_side_px`, or
    when its kernel is empty; where it covers another word's kernel, the mask is still 0.

    Raises InputError for a polygon that is not `(K, 2)` or not finite.
    """
    if len(polygons) != len(ignore):
        raise InputError(f"ignore: need a flag per polygon, got {len(ignore)} for {len(polygons)}")
    size = (height, width)
    shrink = np.zeros(size, np.float32)
    shrink_mask = np.ones(size, np.float32)
    threshold = np.full(size, threshold_min, np.float32)
    threshold_mask = np.zeros(size, np.float32)

    outlines = _measure([_checked(p, i) for i, p in enumerate(polygons)])
    distances = outlines.shrink_distances(shrink_ratio)
    kernels = _inset_quads(outlines, distances)
    learnt = np.zeros(len(polygons), bool)
    for i in outlines.touching(distances, height, width).tolist():
        points = outlines.points[i]
        pieces: Sequence[ArrayLike] = []
        if not ignore[i] and distances[i] > 0 and outlines.at_least_wide(i, min_side_px):
            pieces = kernels.get(i) or offset_polygon(points, -float(distances[i]))
        if not pieces:
            _fill(shrink_mask, points, 0.0)
            continue
        learnt[i] = True
        for piece in pieces:
            _fill(shrink, piece, 1.0)
        _fill(threshold_mask, points, 1.0)
    sides = np.flatnonzero(learnt[outlines.owner] & (outlines.lengths > 0))
    reach = distances[outlines.owner[sides]]
    for pixels, nearness in _border(outlines, sides, reach, height, width):
        # Inside a polygon or nearer than D to its outline: the polygon dilated by D.
        threshold_mask.reshape(-1)[pixels] = 1
        value = nearness * np.float32(threshold_max - threshold_min) + np.float32(threshold_min)
        np.maximum.at(threshold.reshape(-1), pixels, value)
    return Targets(shrink, shrink_mask, threshold, threshold_mask)


def _checked(polygon: ArrayLike, index: int) -> Floats:
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"polygon {index}: need (K, 2) points, got shape {points.shape}")
    if not np.isfinite(points).all():
        raise InputError(f"polygon {index}: need finite points, got {points.tolist()}")
    return points


@dataclass(frozen=True)
class _Outlines:
    """All polygons of a page at once; one row per side, one entry per polygon.

    starts, sides: `(M, 2)`, a side's first point and the vector to its next point.
    lengths, owner: `(M,)`, the side's length and its polygon.
    low, high: `(N, 2)` bounding boxes; area, perimeter: `(N,)`.
    """

    points: list[Floats]
    starts: Floats
    sides: Floats
    lengths: Floats
    owner: NDArray[np.intp]
    low: Floats
    high: Floats
    area: Floats
    perimeter: Floats

    def shrink_distances(self, shrink_ratio: float) -> Floats:
        """`(N,)` D = A (1 - r^2) / L in pixels; 0 for a polygon that is a point."""
        length = np.where(self.perimeter > 0, self.perimeter, 1)
        return self.area * (1 - shrink_ratio**2) / length

    def touching(self, margins: Floats, height: int, width: int) -> NDArray[np.intp]:
        """Indices of the polygons that, grown by their margin and a pixel, meet the map."""
        margin = margins[:, None] + 1
        near = (self.high + margin >= 0) & (self.low - margin <= np.array([width, height]) - 1)
        return np.flatnonzero(near.all(axis=1)) if height and width else np.zeros(0, np.intp)

    def at_least_wide(self, index: int, side_px: float) -> bool:
        """Whether the short side of the minimum-area rectangle reaches `side_px`."""
        # A rectangle's long side is at most half of any outline that spans it.
        if 2 * self.area[index] >= side_px * self.perimeter[index]:
            return True
        points = self.points[index]
        centred = (points - points[0]).astype(np.float32)  # float32 is exact only near 0
        return float(min(cv2.minAreaRect(centred)[1])) >= side_px


def _measure(points: list[Floats]) -> _Outlines:
    counts = np.array([len(p) for p in points], dtype=np.intp)
    filled = np.flatnonzero(counts)  # reduceat knows no empty groups
    owner = np.repeat(np.arange(len(points)), counts)
    first = (np.cumsum(counts) - counts)[filled]
    starts = np.concatenate([np.zeros((0, 2)), *points])
    following = np.arange(1, len(starts) + 1)
    following[first + counts[filled] - 1] = first
    sides = starts[following] - starts
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    low, high = np.full((len(points), 2), np.inf), np.full((len(points), 2), -np.inf)
    area, perimeter = np.zeros(len(points)), np.zeros(len(points))
    if len(filled):
        # Relative to the first vertex, so that far polygons lose no digits.
        x, y = (starts - np.repeat(starts[first], counts[filled], axis=0)).T
        cross = x * y[following] - y * x[following]
        low[filled] = np.minimum.reduceat(starts, first)
        high[filled] = np.maximum.reduceat(starts, first)
        area[filled] = np.abs(np.add.reduceat(cross, first)) / 2
        perimeter[filled] = np.add.reduceat(lengths, first)
    return _Outlines(points, starts, sides, lengths, owner, low, high, area, perimeter)


def _inset_quads(outlines: _Outlines, distances: Floats) -> dict[int, list[Floats]]:
    """The kernels of the convex quadrilaterals that keep all four sides, all in one pass.

    Equal to `offset_polygon` up to its rounding: an inward offset of a convex polygon moves
    each side by D along its normal, and corners stay sharp.
    """
    quads = [i for i, p in enumerate(outlines.points) if len(p) == 4]
    if not quads:
        return {}
    points = np.stack([outlines.points[i] for i in quads])
    side = np.concatenate([points[:, 1:], points[:, :1]], axis=1) - points
    length = np.hypot(side[..., 0], side[..., 1])[..., None]
    along = side / np.where(length > 0, length, 1)
    before = np.concatenate([along[:, 3:], along[:, :3]], axis=1)
    turn = before[..., 0] * along[..., 1] - before[..., 1] * along[..., 0]  # sine at a corner
    corner = np.where(np.abs(turn) > _LEVEL, turn, 1)[..., None]
    # The point at distance D from both sides that meet in a corner.
    inset = points + np.abs(distances[quads])[:, None, None] * (along - before) / np.abs(corner)
    kept = ((np.concatenate([inset[:, 1:], inset[:, :1]], axis=1) - inset) * side).sum(axis=2) > 0
    convex = (turn > _LEVEL).all(axis=1) | (turn < -_LEVEL).all(axis=1)
    good = np.flatnonzero(convex & kept.all(axis=1))
    return {quads[k]: [inset[k]] for k in good}


def _fill(canvas: Map, points: ArrayLike, value: float) -> None:
    """Set the pixels inside a polygon and those that its outline passes through.

    OpenCV draws other pixels when it clips a polygon to the image, so one that leaves the
    map is drawn whole in its own window, and the part on the map is taken over.
    """
    p = np.asarray(points, dtype=np.float64) * 2**_SHIFT
    fixed = np.rint(np.clip(p, -_FAR_PX * 2**_SHIFT, _FAR_PX * 2**_SHIFT)).astype(np.int32)
    low_x, low_y = ((fixed.min(axis=0) >> _SHIFT) - 1).tolist()
    high_x, high_y = ((fixed.max(axis=0) >> _SHIFT) + 3).tolist()  # exclusive, with rounding
    height, width = canvas.shape
    within = low_x >= 0 and low_y >= 0 and high_x <= width and high_y <= height
    if within or (high_x - low_x) * (high_y - low_y) > _MAX_WINDOW:
        cv2.fillPoly(canvas, [fixed], value, shift=_SHIFT)
        return
    window = np.zeros((high_y - low_y, high_x - low_x), np.uint8)
    cv2.fillPoly(window, [fixed - np.array([low_x, low_y]) * 2**_SHIFT], 1, shift=_SHIFT)
    x0, y0, x1, y1 = max(low_x, 0), max(low_y, 0), min(high_x, width), min(high_y, height)
    if x0 < x1 and y0 < y1:
        part = window[y0 - low_y : y1 - low_y, x0 - low_x : x1 - low_x]
        canvas[y0:y1, x0:x1][part > 0] = value


def _border(
    outlines: _Outlines, sides: NDArray[np.intp], reach: Floats, height: int, width: int
) -> Iterator[tuple[NDArray[np.intp], Map]]:
    """Flat pixel indices and 1 - d / D for every pixel nearer than D = `reach` to a side.

    A pixel near several sides appears once for each. All sides of all words go through in
    one pass: sides -> rows they can reach -> the run of pixels they can reach in a row.
    """
    length, start, vector = outlines.lengths[sides], outlines.starts[sides], outlines.sides[sides]
    low = np.minimum(vector, 0) - reach[:, None]  # bounding box of the reach, from `start`
    high = np.maximum(vector, 0) + reach[:, None]
    top = np.maximum(np.ceil(start[:, 1] + low[:, 1]), 0).astype(np.intp)
    bottom = np.minimum(np.floor(start[:, 1] + high[:, 1]), height - 1).astype(np.intp)
    side, y = _runs(top, bottom)

    x0, ux, uy = start[side, 0], vector[side, 0] / length[side], vector[side, 1] / length[side]
    # A pixel is (across, down) from `start`; |down * ux - across * uy| < D bounds its row.
    down = y - start[side, 1]
    slope = np.where(np.abs(uy) > _LEVEL, uy, _LEVEL)
    middle, half = down * ux / slope, reach[side] / np.abs(slope)
    left = np.maximum(np.ceil(x0 + np.maximum(low[side, 0], middle - half)), 0).astype(np.intp)
    right = np.floor(x0 + np.minimum(high[side, 0], middle + half))
    right = np.minimum(right, width - 1).astype(np.intp)

    # In units of D, t along the side from its middle and n across it: (t, n, half length)
    # of a run's first pixel, and what a pixel to the right adds to t and n.
    unit = 1 / reach[side]
    across = left - x0
    t = (across * ux + down * uy - length[side] / 2) * unit
    n = (down * ux - across * uy) * unit
    lines = np.stack([t, ux * unit, n, -uy * unit, length[side] * unit / 2]).astype(np.float32)
    for rows in _batches(right - left + 1):
        row, x = _runs(left[rows], right[rows])
        nearness = _nearness(lines[:, rows], row, (x - left[rows][row]).astype(np.float32))
        near = np.flatnonzero(nearness > 0)
        yield ((y[rows] * width)[row] + x)[near], nearness[near]


def _batches(counts: NDArray[np.intp]) -> Iterator[slice]:
    """Slices of consecutive rows with about `_BATCH_PX` pixels each, so that the temporary
    arrays stay in the processor's cache."""
    total = np.cumsum(np.maximum(counts, 0))
    if not len(total):
        return
    ends = np.searchsorted(total, np.arange(_BATCH_PX, total[-1] + _BATCH_PX, _BATCH_PX)) + 1
    first = 0
    for end in [*ends[:-1].tolist(), len(total)]:
        yield slice(first, end)
        first = end


def _nearness(lines: Map, row: NDArray[np.intp], step: Map) -> Map:
    """1 - d / D of pixels `step` into their row's run; `lines` is `(5, rows)`, see `_border`."""
    t, t_step, n, n_step, half = (line[row] for line in lines)
    t += t_step * step
    n += n_step * step
    np.abs(t, out=t)
    t -= half  # how far the pixel lies beyond an end of the side
    np.maximum(t, 0, out=t)
    t *= t
    n *= n
    t += n
    np.sqrt(t, out=t)
    return np.subtract(1, t, out=t)


def _runs(
    first: NDArray[np.intp], last: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The index of its range, and the value, of every integer in the closed ranges."""
    counts = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(first)), counts)
    return index, np.arange(len(index)) + (first - np.cumsum(counts) + counts)[index]
