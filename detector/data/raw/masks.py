"""Outlines of the masks of COCO: lengths of runs of pixels out of and in an object, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

import shapely

from detector.data.raw.shapes import hull, numbers

# A slanted edge has a step at each pixel; those that a straight line passes this near to go. Where
# the ring begins it may be twice as far, since that point is looked at last and alone.
_STEP_PX = 0.75
_LONGEST_BITS = 60


def mask_outline(mask: Mapping[str, Any]) -> Any:
    """The outline of `{"size": [height, width], "counts": ...}` along the edges of its pixels.

    Counts are a list or, compressed, a text. Of a mask in several parts it is their hull; an
    empty mask has no points. A mask that cannot be read is given back as it is.
    """
    counts, size = mask.get("counts"), mask.get("size")
    runs = _unpacked(counts) if isinstance(counts, str) else _whole(counts)
    sides = _whole(size)
    if runs is None or sides is None or len(sides) != 2 or sum(runs) > sides[0] * sides[1]:
        return mask
    edges = list(accumulate(runs, initial=0))[1:]
    boxes = [box for start, end in _pairs(edges) for box in _boxes(start, end, sides[0])]
    shape = shapely.union_all(boxes)
    if not isinstance(shape, shapely.Polygon):
        return hull(shapely.get_coordinates(shape).tolist())
    whole = shapely.Polygon(shape.exterior)
    smooth = _corners(whole.simplify(_STEP_PX))
    return smooth if len(smooth) >= 4 else _corners(whole.simplify(0))


def _corners(polygon: shapely.Geometry) -> list[list[float]]:
    corners: list[list[float]] = shapely.get_coordinates(polygon)[:-1].tolist()
    return corners


def _pairs(edges: list[int]) -> Iterator[tuple[int, int]]:
    """The first pixel of each run in the object and the first one after it."""
    return ((start, end) for start, end in list(pairwise(edges))[::2] if end > start)


def _boxes(start: int, end: int, height: int) -> Iterator[shapely.Polygon]:
    """The rectangles of a run down the columns: the rest of one, whole ones, part of the last."""
    (x0, y0), (x1, y1) = divmod(start, height), divmod(end, height)
    if x0 == x1:
        yield shapely.box(x0, y0, x0 + 1, y1)
        return
    if y0:
        yield shapely.box(x0, y0, x0 + 1, height)
    if x1 > x0 + bool(y0):
        yield shapely.box(x0 + bool(y0), 0, x1, height)
    if y1:
        yield shapely.box(x1, 0, x1 + 1, y1)


def _whole(values: Any) -> list[int] | None:
    found = numbers(values) if isinstance(values, list) else None
    if found is None or any(value < 0 or value != int(value) for value in found):
        return None
    return [int(value) for value in found]


def _unpacked(text: str) -> list[int] | None:
    """Lengths of runs from six bits a character: five of a number from its lowest, and whether
    more follow. A number is signed and, from the fourth on, what is added to the last but one."""
    runs: list[int] = []
    value = bits = 0
    for character in text:
        digit = ord(character) - ord("0")
        if not 0 <= digit < 64 or bits > _LONGEST_BITS:
            return None
        value |= (digit & 31) << bits
        bits += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    return None if bits or min(runs, default=0) < 0 else runs
