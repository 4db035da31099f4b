"""Distances to the sides of all polygons of a map at once, in tiles of 8 x 8 pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

TILE = 8  # side of a tile, pixels
_ROW = np.dtype((np.void, 4 * TILE))  # a tile's row of float32
_LEVEL = 1e-9  # smallest sine of a side's angle, against division by 0

Map = NDArray[np.float32]
Floats = NDArray[np.float64]
Counts = NDArray[np.intp]


def border_tiles(
    start: Floats, vector: Floats, length: Floats, reach: Floats, size: tuple[int, int]
) -> tuple[Counts, Counts, Map]:
    """1 - d / D near the sides of polygons; d is the distance to a side, D its `reach`.

    start, vector: `(S, 2)` xy of each side's first point, and from there to its other end.
    length, reach: `(S,)` pixels, above 0. size: height and width of the map.
    Returns the row and column, `(T,)` counted in tiles, of every tile of the map that a side
    may reach, and `(T, 64)` values, row by row: the largest over the sides, 0 beyond D.
    All pairs of a tile and a side that may reach it go through in one pass.
    """
    side, row, column = _pairs(start, vector, length, reach, size)
    if not len(side):
        return row, column, np.zeros((0, TILE * TILE), np.float32)
    order, levels = _levels(row * (size[1] // TILE + 1) + column)
    side, row, column = side[order], row[order], column[order]

    # In units of D: t along the side from its middle, n across it, at a tile's first pixel.
    unit = 1 / reach
    direction = vector * (unit / length)[:, None]
    by_side = np.concatenate([start, direction, (length * unit / 2)[:, None]], axis=1)
    x, y, ux, uy, half = by_side.T[:, side]
    across, down = column * TILE - x, row * TILE - y
    lines = np.empty((5, len(side)), np.float32)
    lines[0] = across * ux + down * uy - half
    lines[1] = down * ux - across * uy
    lines[2:] = ux, uy, half
    squared = _squared_distances(lines, levels)
    nearness: Map = np.subtract(1, cv2.sqrt(squared, squared), out=squared)
    _positive(nearness)
    return row[: levels[0]], column[: levels[0]], cv2.transpose(nearness)  # type: ignore[return-value]


def _squared_distances(lines: Map, levels: list[int]) -> Map:
    """`(64, T)` squares of d / D for T = levels[0] tiles, the smallest of each tile's pairs.

    lines: `(5, P)`, see `border_tiles`, in the order of `_levels`. The pairs are the last axis, so
    that numpy's inner loops are long; the arrays of one row of all tiles stay in the cache.
    """
    t0, n0, ux, uy, half = lines
    step = np.arange(TILE, dtype=np.float32)[:, None]
    t_step, n_step = step * ux, step * -uy
    squared, n = np.empty((TILE, TILE, len(t0)), np.float32), np.empty_like(n_step)
    for y in range(TILE):
        t = squared[y]
        np.add(t_step, t0 + np.float32(y) * uy, out=t)
        np.abs(t, out=t)
        t -= half  # how far the pixel lies beyond an end of the side
        _positive(t)
        t *= t
        np.add(n_step, n0 + np.float32(y) * ux, out=n)
        n *= n
        t += n
    pairs = squared.reshape(TILE * TILE, -1)
    best, first = pairs[:, : levels[0]], levels[0]
    for count in levels[1:]:
        part = best[:, :count]
        np.minimum(part, pairs[:, first : first + count], out=part)
        first += count
    return best


def _positive(values: Map) -> None:
    """Replace what is below 0 by 0, in place; numpy's maximum takes five times as long."""
    cv2.threshold(values, 0, 0, cv2.THRESH_TOZERO, values)


def _pairs(
    start: Floats, vector: Floats, length: Floats, reach: Floats, size: tuple[int, int]
) -> tuple[Counts, Counts, Counts]:
    """Index of the side, row and column of the tile, of all pairs of a side and a tile in reach."""
    height, width = size
    low = np.minimum(vector, 0) - reach[:, None]  # bounding box of the reach, from `start`
    high = np.maximum(vector, 0) + reach[:, None]
    top = np.maximum(np.ceil(start[:, 1] + low[:, 1]), 0).astype(np.intp)
    bottom = np.minimum(np.floor(start[:, 1] + high[:, 1]), height - 1).astype(np.intp)
    side, row = _runs(top // TILE, bottom // TILE)

    x0, ux, uy = start[side, 0], vector[side, 0] / length[side], vector[side, 1] / length[side]
    # A pixel is (across, down) from `start`; |down * ux - across * uy| < D bounds its row.
    slope = np.where(np.abs(uy) > _LEVEL, uy, _LEVEL)
    first = (row * TILE - start[side, 1]) * ux / slope
    last = first + (TILE - 1) * ux / slope
    half = reach[side] / np.abs(slope)
    left = np.maximum(low[side, 0], np.minimum(first, last) - half)
    right = np.minimum(high[side, 0], np.maximum(first, last) + half)
    left = np.maximum(np.ceil(x0 + left), 0).astype(np.intp)
    right = np.minimum(np.floor(x0 + right), width - 1).astype(np.intp)
    pair, column = _runs(left // TILE, right // TILE)
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


def put_tiles(canvas: Map, row: Counts, column: Counts, tiles: Map) -> None:
    """Write `(T, 64)` tiles into a map whose sides are multiples of 8."""
    across = canvas.shape[1] // TILE
    places = (row * (TILE * across) + column)[:, None] + np.arange(TILE) * across
    # numpy's cost is per element, so the eight pixels of a tile's row are one element.
    canvas.reshape(-1).view(_ROW)[places] = tiles.view(_ROW)


def _runs(first: Counts, last: Counts) -> tuple[Counts, Counts]:
    """The index of its range, and the value, of every integer in the closed ranges."""
    counts = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(first)), counts)
    return index, np.arange(len(index)) + (first - np.cumsum(counts) + counts)[index]
