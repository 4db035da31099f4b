"""Which regions of two lists meet, what area they share, which points lie inside.

A number always belongs to one pair and follows from that pair alone, to the last bit:
leaving out other regions changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from detector.metrics.polygons import Indices, Points, Polygons
from detector.metrics.regions import Boxes, Regions

# Pairs compared outright; for more, a tree of the bounding boxes is faster.
_DENSE = 1 << 18
# Pairs of sides of two outlines up to which their shared area is summed up; beyond, shapely
# is faster.
_MOST_TERMS = 512
# Numbers held at a time: bounds the memory on pages where everything overlaps.
_CHUNK = 1 << 18
# Narrower sides (px) are vertical: they bound no area, and their slope could overflow.
_NARROW = 1e-100


def meeting_pairs(first: Boxes, second: Boxes) -> tuple[Indices, Indices]:
    """Index pairs of boxes that meet, sorted."""
    count = second.low.shape[1]
    if first.low.shape[1] * count > _DENSE:
        return _tree_pairs(first, second)
    (left, top), (right, bottom) = first.low[:, :, None], first.high[:, :, None]
    meets = left <= second.high[0]
    meets &= top <= second.high[1]
    meets &= right >= second.low[0]
    meets &= bottom >= second.low[1]
    rows, columns = np.divmod(meets.ravel().nonzero()[0], max(count, 1))
    return rows, columns


def _tree_pairs(first: Boxes, second: Boxes) -> tuple[Indices, Indices]:
    one, two = (np.flatnonzero(np.isfinite(boxes.low[0])) for boxes in (first, second))
    boxes = first.take(one), second.take(two)
    left, right = (np.asarray(shapely.box(*low, *high)) for low, high in boxes)
    columns, rows = shapely.STRtree(left).query(right)
    rows, columns = one[rows], two[columns]
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def shared_areas(first: Regions, second: Regions, rows: Indices, columns: Indices) -> Points:
    """`(P,)` square pixels that `first[rows]` and `second[columns]` have in common."""
    areas = np.zeros(len(rows))
    simple = first.simple[rows] & second.simple[columns]
    known = simple.nonzero()[0]
    rest = [(~simple).nonzero()[0]]
    one, two = first.polygons, second.polygons
    for chosen, width in _by_width(one, rows[known]):
        some = known[chosen]
        for inner, height in _by_width(two, columns[some]):
            pairs = some[inner]
            if width * height > _MOST_TERMS:
                rest.append(pairs)
                continue
            base = np.minimum(first.boxes.low[1, rows[pairs]], second.boxes.low[1, columns[pairs]])
            areas[pairs] = _sum_sides(
                _sides(one, rows[pairs], width), _sides(two, columns[pairs], height), base
            )
    other = np.concatenate(rest)
    if len(other):
        shapes = first.geometries(rows[other]), second.geometries(columns[other])
        areas[other] = shapely.area(shapely.intersection(*shapes))
    return np.minimum(areas, np.minimum(first.areas[rows], second.areas[columns]))


def _by_width(polygons: Polygons, members: Indices) -> Iterator[tuple[Indices | slice, int]]:
    """Places among `members` by the width of the table they are put in: 4, 8, 16, ..."""
    if polygons.only_quads:
        yield slice(None), 4
        return
    lengths = polygons.lengths[members]
    powers = np.ceil(np.log2(np.maximum(lengths, 4))).astype(np.intp)
    for power in np.unique(powers).tolist():
        yield (powers == power).nonzero()[0], 1 << power


def _sides(polygons: Polygons, members: Indices, width: int) -> Points:
    """Sides `(5, width, P)` of the polygons `members`.

    A side goes from left to right: left and right x, y on the left, slope, and a weight of
    1 or -1 by the direction in which the outline runs, 0 for vertical sides.
    """
    x, y = np.ascontiguousarray(polygons.table(members, width).T)
    following = np.arange(1, width + 1) % width
    last_x, last_y = x[following], y[following]
    run, rise = last_x - x, last_y - y
    sides = np.empty((5, *x.shape))
    np.minimum(x, last_x, out=sides[0])
    np.maximum(x, last_x, out=sides[1])
    np.copyto(sides[2], np.where(run < 0, last_y, y))
    wide = np.abs(run) > _NARROW
    np.divide(rise, np.where(wide, run, np.inf), out=sides[3])
    np.multiply(np.sign(run), wide, out=sides[4])
    return sides


def _sum_sides(first: Points, second: Points, base: Points) -> Points:
    """`(P,)` areas shared by outlines with the sides `(5, K, P)` and `(5, L, P)`.

    The region of an outline is the signed sum of the strips between its sides and a line
    below all of it, here at `base`. So the area of two is a signed sum over pairs of sides,
    each the integral of the lower of two linear functions over the x that both sides span.
    """
    terms = first.shape[1] * second.shape[1]
    sums = np.zeros(len(base))
    size = max(1, _CHUNK // terms)
    for i in range(0, len(base), size):
        part = slice(i, i + size)
        strips = _strips(first[:, :, None, part], second[:, None, :, part], base[part])
        # bincount adds one by one; sum() would group by how many pairs there are
        pair = np.concatenate([np.arange(strips.shape[2])] * terms)
        sums[part] = np.bincount(pair, strips.ravel(), strips.shape[2])
    return np.abs(sums)


def _strips(one: Points, two: Points, base: Points) -> Points:
    """Signed area above `base` and below both sides, for sides that broadcast."""
    (left1, right1, y1, slope1, weight1), (left2, right2, y2, slope2, weight2) = one, two
    left = np.maximum(left1, left2)
    width = np.maximum(np.minimum(right1, right2) - left, 0)
    start1, start2 = (y1 - base) + slope1 * (left - left1), (y2 - base) + slope2 * (left - left2)
    end1, end2 = start1 + slope1 * width, start2 + slope2 * width
    first, last = start1 - start2, end1 - end2
    # where the sides cross, the lower of them rises above the line between the lower ends
    bulge = np.maximum(-first * last, 0) / np.maximum(np.abs(first - last), _NARROW)
    lower = np.minimum(start1, start2) + np.minimum(end1, end2) + bulge
    return np.asarray(lower * width * (weight1 * weight2) / 2)


def points_inside(points: Points, polygons: Polygons, members: Indices) -> NDArray[np.bool_]:
    """`(P,)`: whether point i of `(P, 2)` lies in polygon `members[i]`.

    Even-odd rule. Points on the left and upper border are inside, those on the right and
    lower border are not, so a point on an edge that two polygons share is in one of them.
    """
    inside = np.zeros(len(points), dtype=bool)
    if not len(points):
        return inside
    for chosen, width in _by_width(polygons, members):
        wanted, near = members[chosen], points[chosen]
        there = np.zeros(len(polygons), dtype=bool)
        there[wanted] = True
        sides = _crossing_sides(polygons.table(there.nonzero()[0], width))
        place = (there.cumsum() - 1)[wanted]
        size = max(1, _CHUNK // width)
        inside[chosen] = np.concatenate(
            [
                _crossed(near[i : i + size], sides, place[i : i + size])
                for i in range(0, len(place), size)
            ]
        )
    return inside


def _crossing_sides(corners: Points) -> tuple[Points, ...]:
    """x, y, next y, run and rise of each side, `(K, n)` each; the rise 1 where it is none."""
    x, y = np.ascontiguousarray(corners.T)
    following = np.arange(1, len(x) + 1) % len(x)
    last_y = y[following]
    rise = last_y - y
    return x, y, last_y, x[following] - x, np.where(rise == 0, 1, rise)


def _crossed(points: Points, sides: tuple[Points, ...], place: Indices) -> NDArray[np.bool_]:
    """`(P,)`: whether an odd number of sides `[:, place[i]]` is to the right of point i."""
    x, y = np.ascontiguousarray(points.T)
    x0, y0, y1, run, rise = (side.take(place, axis=1) for side in sides)
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(over="ignore"):  # sides that are almost level and not crossed
        crosses &= x < x0 + run * (y - y0) / rise
    return np.asarray(np.logical_xor.reduce(crosses))
