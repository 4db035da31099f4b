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

from detector.core.errors import InputError
from detector.core.geometry import next_vertices, offset_polygon
from detector.data.crops.borders import TILE, border_tiles, put_tiles

_SHIFT = 6  # sub-pixel bits of the coordinates given to cv2.fillPoly
_FAR_PX = 1e6  # beyond this, sub-pixel coordinates leave OpenCV's int32
_LEVEL = 1e-9  # smallest sine of a corner of a word with four sides
_MAX_WINDOW = 2**24  # pixels of a polygon's own window; larger ones are drawn clipped

Map = NDArray[np.float32]
Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Targets:
    """What the network learns from one image; every map is `(H, W)`, the masks are uint8.

    shrink: 1 inside the text kernels, else 0.
    shrink_mask: 0 on words that are ignored, too small or vanish when shrunk, else 1.
    threshold: float32, threshold_max on the outline of a word, falling to threshold_min at the
        shrink distance on either side of it and beyond; the maximum over words.
    threshold_mask: 1 on words dilated by their shrink distance (inside included), else 0.
    """

    shrink: Mask
    shrink_mask: Mask
    threshold: Map
    threshold_mask: Mask


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
    outlines = _measure(_checked(polygons))
    distances = outlines.shrink_distances(shrink_ratio)
    near = outlines.touching(distances, height, width).tolist()
    kernels = _kernels(outlines, distances, [i for i in near if not ignore[i]], min_side_px)
    learnt = np.zeros(len(polygons), bool)
    learnt[list(kernels)] = True
    sides = np.flatnonzero(learnt[outlines.owner] & (outlines.lengths > 0))
    row, column, nearness = border_tiles(
        outlines.starts[sides],
        outlines.sides[sides],
        outlines.lengths[sides],
        distances[outlines.owner[sides]],
        (height, width),
    )
    nearness *= np.float32(threshold_max - threshold_min)
    nearness += np.float32(threshold_min)
    rows, columns = -(-height // TILE), -(-width // TILE)
    tiled = np.full((rows * TILE, columns * TILE), threshold_min, np.float32)
    put_tiles(tiled, row, column, nearness)
    threshold = np.ascontiguousarray(tiled[:height, :width])
    # Inside a polygon or nearer than D to its outline: the polygon dilated by D.
    threshold_mask = (threshold > np.float32(threshold_min)).view(np.uint8)
    fill_polygons(threshold_mask, [outlines.points[i] for i in kernels], 1)
    shrink, shrink_mask = np.zeros_like(threshold_mask), np.ones_like(threshold_mask)
    fill_polygons(shrink, [piece for pieces in kernels.values() for piece in pieces], 1)
    fill_polygons(shrink_mask, [outlines.points[i] for i in near if i not in kernels], 0)
    return Targets(shrink, shrink_mask, threshold, threshold_mask)


def _checked(polygons: Sequence[ArrayLike]) -> list[Floats]:
    found = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
    for index, points in enumerate(found):
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"polygon {index}: need (K, 2) points, got shape {points.shape}")
    if not np.isfinite(np.concatenate([np.zeros((0, 2)), *found])).all():
        index = next(i for i, points in enumerate(found) if not np.isfinite(points).all())
        raise InputError(f"polygon {index}: need finite points, got {found[index].tolist()}")
    return found


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
    starts = np.concatenate([np.zeros((0, 2)), *points])
    first, following = next_vertices(counts[filled])
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


def fill_polygons(canvas: Mask, polygons: Sequence[ArrayLike], value: int) -> None:
    """Set the pixels inside each `(K, 2)` polygon and those that its outline passes through.

    Every polygon has at least one point, and all are finite.
    """
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
    canvas: Mask, fixed: NDArray[np.int32], low: list[int], high: list[int], value: int
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
