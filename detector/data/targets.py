"""Label maps of DBNet (arXiv:1911.08947, section 3.4) with their masks, in float geometry.

Polygons are `(K, 2)` xy in pixels of the map; pixel (row i, column j) has its centre at
x = j, y = i. A polygon may lie partly or wholly outside the map: the maps are then exactly
the crop of the maps that a larger canvas would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import InputError
from detector.geometry import offset_polygon

_SHIFT = 6  # sub-pixel bits of the coordinates given to cv2.fillPoly
_FAR_PX = 1e6  # beyond this, sub-pixel coordinates leave OpenCV's int32
_LEVEL = 1e-9  # smallest sine of a side's angle, against division by 0
_TILE = 8  # side of the squares in which distances to borders are computed, pixels
_MAX_WINDOW = 2**24  # pixels of a polygon's own window; larger ones are drawn clipped

Map = NDArray[np.float32]
Floats = NDArray[np.float64]
Counts = NDArray[np.intp]


@dataclass(frozen=True)
class Targets:
    """What the network learns from one image; every map is `(H, W)` float32.

    shrink: 1 inside the text kernels, else 0.
    shrink_mask: 0 on words that are ignored, too small or vanish when shrunk, else 1.
    threshold: threshold_max on the outline of a word, falling to threshold_min at the
        shrink distance on either side of it and beyond; the maximum over words.
    threshold_mask: 1 on words dilated by their shrink distance (inside included), else 0.
    stacked: the four in this order in one array, `(4, H, W)`; they are views of it.
    """

    stacked: Map

    @property
    def shrink(self) -> Map:
        return self.stacked[0]

    @property
    def shrink_mask(self) -> Map:
        return self.stacked[1]

    @property
    def threshold(self) -> Map:
        return self.stacked[2]

    @property
    def threshold_mask(self) -> Map:
        return self.stacked[3]


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
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    maps = np.zeros((4, rows * _TILE, columns * _TILE), np.float32)
    maps[1] = 1
    maps[2] = threshold_min

    outlines = _measure([_checked(p, i) for i, p in enumerate(polygons)])
    distances = outlines.shrink_distances(shrink_ratio)
    near = outlines.touching(distances, height, width).tolist()
    kernels = _kernels(outlines, distances, [i for i in near if not ignore[i]], min_side_px)
    sides = np.flatnonzero(np.isin(outlines.owner, list(kernels)) & (outlines.lengths > 0))
    row, column, nearness = _border(outlines, sides, distances, height, width)
    # Inside a polygon or nearer than D to its outline: the polygon dilated by D.
    _put(maps[3], row, column, (nearness > 0).astype(np.float32))
    nearness *= np.float32(threshold_max - threshold_min)
    nearness += np.float32(threshold_min)
    _put(maps[2], row, column, nearness)

    visible = maps[:, :height, :width]
    _fill(visible[0], [piece for pieces in kernels.values() for piece in pieces], 1.0)
    _fill(visible[1], [outlines.points[i] for i in near if i not in kernels], 0.0)
    _fill(visible[3], [outlines.points[i] for i in kernels], 1.0)
    return Targets(np.ascontiguousarray(visible))


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


def _kernels(
    outlines: _Outlines, distances: Floats, words: Sequence[int], min_side_px: float
) -> dict[int, Sequence[ArrayLike]]:
    """The pieces of the kernel of each of `words` that is wide enough and has one."""
    quads = _inset_quads(outlines, distances)
    found: dict[int, Sequence[ArrayLike]] = {}
    for i in words:
        if distances[i] > 0 and outlines.at_least_wide(i, min_side_px):
            pieces = quads.get(i) or offset_polygon(outlines.points[i], -float(distances[i]))
            if pieces:
                found[i] = pieces
    return found


def _fill(canvas: Map, polygons: Sequence[ArrayLike], value: float) -> None:
    """Set the pixels inside each polygon and those that its outline passes through."""
    if not polygons or not canvas.size:
        return
    points = np.concatenate([np.asarray(p, dtype=np.float64) for p in polygons])
    fixed = np.rint(np.clip(points, -_FAR_PX, _FAR_PX) * 2**_SHIFT).astype(np.int32)
    ends = np.cumsum([len(p) for p in polygons])  # type: ignore[arg-type]
    first = np.concatenate([[0], ends[:-1]])
    low = (np.minimum.reduceat(fixed, first) >> _SHIFT) - 1
    high = (np.maximum.reduceat(fixed, first) >> _SHIFT) + 3  # exclusive, with rounding
    height, width = canvas.shape
    whole = (np.minimum(low, np.array([width, height]) - high) >= 0).all(axis=1).tolist()
    for i, (a, b) in enumerate(zip(first.tolist(), ends.tolist(), strict=True)):
        if whole[i]:
            cv2.fillPoly(canvas, [fixed[a:b]], value, shift=_SHIFT)
        else:
            _fill_clipped(canvas, fixed[a:b], low[i].tolist(), high[i].tolist(), value)


def _fill_clipped(
    canvas: Map, fixed: NDArray[np.int32], low: list[int], high: list[int], value: float
) -> None:
    """`cv2.fillPoly` of a polygon, between `low` and `high`, that leaves the map.

    OpenCV draws other pixels when it clips a polygon to the image, so this one is drawn
    whole in its own window, and the part on the map is taken over.
    """
    height, width = canvas.shape
    (low_x, low_y), (high_x, high_y) = low, high
    if (high_x - low_x) * (high_y - low_y) > _MAX_WINDOW:
        cv2.fillPoly(canvas, [fixed], value, shift=_SHIFT)
        return
    window = np.zeros((high_y - low_y, high_x - low_x), np.uint8)
    moved = fixed - np.array([low_x, low_y], np.int32) * 2**_SHIFT
    cv2.fillPoly(window, [moved.astype(np.int32)], 1, shift=_SHIFT)
    x0, y0, x1, y1 = max(low_x, 0), max(low_y, 0), min(high_x, width), min(high_y, height)
    if x0 < x1 and y0 < y1:
        part = window[y0 - low_y : y1 - low_y, x0 - low_x : x1 - low_x]
        canvas[y0:y1, x0:x1][part > 0] = value


def _border(
    outlines: _Outlines, sides: Counts, distances: Floats, height: int, width: int
) -> tuple[Counts, Counts, Map]:
    """Row and column `(T,)` of every tile that a border may reach, and `(T, 64)` 1 - d / D.

    d is the distance to a side and D = `distances` of its word; the value is the largest over
    the sides, and 0 beyond D. All pairs of a tile and a side that may reach it go through in
    one pass.
    """
    reach = distances[outlines.owner[sides]]
    pair_side, row, column = _pairs(outlines, sides, reach, height, width)
    order, levels = _levels(row * (width // _TILE + 1) + column)
    pair_side, row, column = pair_side[order], row[order], column[order]

    # In units of D: t along the side from its middle, n across it, at a tile's first pixel.
    side = sides[pair_side]
    unit = 1 / reach[pair_side]
    ux, uy = (outlines.sides[side] * (unit / outlines.lengths[side])[:, None]).T
    across = column * _TILE - outlines.starts[side, 0]
    down = row * _TILE - outlines.starts[side, 1]
    half = outlines.lengths[side] * unit / 2
    lines = np.stack([across * ux + down * uy - half, down * ux - across * uy, ux, uy, half])
    squared = _squared_distances(lines.astype(np.float32), levels)
    nearness = np.subtract(1, np.sqrt(squared, out=squared), out=squared)
    np.maximum(nearness, 0, out=nearness)
    by_tile = cv2.transpose(nearness) if levels[0] else nearness.T
    return row[: levels[0]], column[: levels[0]], by_tile  # type: ignore[return-value]


def _squared_distances(lines: Map, levels: list[int]) -> Map:
    """`(64, T)` squares of d / D for T = levels[0] tiles, the smallest of each tile's pairs.

    lines: `(5, P)`, see `_border`, in the order of `_levels`. The pairs are the last axis, so
    that numpy's inner loops are long; the squares of one row of all tiles stay in the cache.
    """
    t0, n0, ux, uy, half = lines
    step = np.arange(_TILE, dtype=np.float32)[:, None]
    t_step, n_step = step * ux, step * -uy
    best = np.empty((_TILE, _TILE, levels[0]), np.float32)
    t, n = np.empty_like(t_step), np.empty_like(n_step)
    for y in range(_TILE):
        np.add(t_step, t0 + np.float32(y) * uy, out=t)
        np.abs(t, out=t)
        t -= half  # how far the pixel lies beyond an end of the side
        np.maximum(t, 0, out=t)
        t *= t
        np.add(n_step, n0 + np.float32(y) * ux, out=n)
        n *= n
        t += n
        start = 0
        for level, count in enumerate(levels):
            found = t[:, start : start + count]
            if level:
                np.minimum(best[y, :, :count], found, out=best[y, :, :count])
            else:
                best[y] = found
            start += count
    return best.reshape(_TILE * _TILE, -1)


def _pairs(
    outlines: _Outlines, sides: Counts, reach: Floats, height: int, width: int
) -> tuple[Counts, Counts, Counts]:
    """Index into `sides`, tile row and tile column of all pairs of a side and a tile in reach."""
    length, start, vector = outlines.lengths[sides], outlines.starts[sides], outlines.sides[sides]
    low = np.minimum(vector, 0) - reach[:, None]  # bounding box of the reach, from `start`
    high = np.maximum(vector, 0) + reach[:, None]
    top = np.maximum(np.ceil(start[:, 1] + low[:, 1]), 0).astype(np.intp)
    bottom = np.minimum(np.floor(start[:, 1] + high[:, 1]), height - 1).astype(np.intp)
    side, row = _runs(top // _TILE, bottom // _TILE)

    x0, ux, uy = start[side, 0], vector[side, 0] / length[side], vector[side, 1] / length[side]
    # A pixel is (across, down) from `start`; |down * ux - across * uy| < D bounds its row.
    slope = np.where(np.abs(uy) > _LEVEL, uy, _LEVEL)
    first = (row * _TILE - start[side, 1]) * ux / slope
    last = first + (_TILE - 1) * ux / slope
    half = reach[side] / np.abs(slope)
    left = np.maximum(low[side, 0], np.minimum(first, last) - half)
    right = np.minimum(high[side, 0], np.maximum(first, last) + half)
    left = np.maximum(np.ceil(x0 + left), 0).astype(np.intp)
    right = np.minimum(np.floor(x0 + right), width - 1).astype(np.intp)
    pair, column = _runs(left // _TILE, right // _TILE)
    return side[pair], row[pair], column


def _levels(tile: Counts) -> tuple[Counts, list[int]]:
    """An order of pairs by their tile, such that tiles can be merged by adding up slices.

    First one pair of every tile, then the second one of every tile that has two, and so on,
    the tiles always in one order. Returns the order and how many pairs each level has.
    """
    if not len(tile):
        return np.zeros(0, np.intp), [0]
    # numpy sorts 16-bit numbers in linear time.
    short = tile.astype(np.uint16) if tile.max() < 2**16 else tile
    order = np.argsort(short, kind="stable")
    ordered = tile[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(first, len(tile)))
    level = np.arange(len(tile)) - np.repeat(first, counts)
    place = np.empty(len(first), np.intp)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(first))
    levels = np.bincount(level)
    arranged = np.empty_like(order)
    arranged[(np.cumsum(levels) - levels)[level] + np.repeat(place, counts)] = order
    return arranged, levels.tolist()


def _put(canvas: Map, row: Counts, column: Counts, tiles: Map) -> None:
    """Write `(T, 64)` tiles into a map whose sides are multiples of 8."""
    height, width = canvas.shape
    # As complex numbers, since numpy's cost is per element: four pixels are one element.
    wide = canvas.view(np.complex128).reshape(height // _TILE, _TILE, width // _TILE, _TILE // 4)
    wide[row, :, column, :] = tiles.view(np.complex128).reshape(-1, _TILE, _TILE // 4)


def _runs(first: Counts, last: Counts) -> tuple[Counts, Counts]:
    """The index of its range, and the value, of every integer in the closed ranges."""
    counts = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(first)), counts)
    return index, np.arange(len(index)) + (first - np.cumsum(counts) + counts)[index]
