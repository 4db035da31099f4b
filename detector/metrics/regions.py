"""The regions that polygons enclose: their areas, bounding boxes and shapely geometries.

Outlines that cross themselves are filled by the even-odd rule (a bow-tie keeps both
halves). Nothing here raises for a bad polygon: it becomes an empty region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from detector.metrics.polygons import Indices, Points, Polygons, read_polygons

Bools = NDArray[np.bool_]
Geometries = NDArray[np.object_]

_NEXT = np.array([1, 2, 3, 0])
# A corner flatter than this share of the quad's size is left to shapely to judge.
_FLAT = 1e-12


class Boxes(NamedTuple):
    """N upright boxes; an empty one is from inf to -inf and meets nothing."""

    low: Points  # (2, N) x of the left, y of the upper sides
    high: Points  # (2, N) x of the right, y of the lower sides

    def take(self, members: Indices) -> Boxes:
        """Some of the boxes, in the order of `members`."""
        return Boxes(self.low[:, members], self.high[:, members])


def bounding_boxes(points: Points, starts: Indices, lengths: Indices) -> Boxes:
    """The boxes around runs of `(P, 2)` points that follow each other without a gap."""
    filled = lengths.nonzero()[0]
    if not len(filled):
        return Boxes(np.full((2, len(lengths)), np.inf), np.full((2, len(lengths)), -np.inf))
    low, high = (f.reduceat(points, starts[filled]).T for f in (np.minimum, np.maximum))
    if len(filled) == len(lengths):
        return Boxes(low, high)
    boxes = Boxes(np.full((2, len(lengths)), np.inf), np.full((2, len(lengths)), -np.inf))
    boxes.low[:, filled], boxes.high[:, filled] = low, high
    return boxes


@dataclass(frozen=True, eq=False)
class Regions:
    """N regions with what is asked of all of them at once.

    `simple` marks outlines that do not cross or touch themselves.
    `shapes` holds the geometries that were needed so far, None for the others.
    """

    polygons: Polygons
    areas: Points  # (N,) square pixels
    boxes: Boxes  # around those with an area
    simple: Bools  # (N,)
    shapes: Geometries  # (N,)

    def __len__(self) -> int:
        return len(self.areas)

    def take(self, members: Indices) -> Regions:
        """Some of the regions, in the order of `members`."""
        if len(members) == len(self):
            return self
        return Regions(
            self.polygons.take(members),
            self.areas[members],
            self.boxes.take(members),
            self.simple[members],
            self.shapes[members],
        )

    def geometries(self, members: Indices) -> Geometries:
        """Shapely geometries of `members`, which may repeat."""
        chosen, back = np.unique(members, return_inverse=True)
        shapes = self.shapes[chosen]
        missing = [i for i, shape in enumerate(shapes) if shape is None]
        shapes[missing] = to_geometries(self.polygons.take(chosen[missing]))[0]
        return shapes[back]

    def without(self, holes: Indices, members: Indices) -> Regions:
        """The regions, `members[i]` less region `holes[i]`; members may repeat."""
        cut = np.unique(members)
        shapes, simple = self.shapes.copy(), self.simple.copy()
        known = self.geometries(np.concatenate([cut, holes]))
        whole, covers = known[: len(cut)], known[len(cut) :]
        shapes[cut] = shapely.difference(
            whole, [shapely.union_all(covers[members == i]) for i in cut]
        )
        simple[cut] = False
        return replace(self, shapes=shapes, simple=simple)


def read_regions(shapes: Sequence[ArrayLike] | Regions, *, whole: bool = False) -> Regions:
    """The regions of polygons `(K, 2)` xy, their coordinates rounded if `whole`.

    Regions are given back as they are, so that several metrics can share them; those to be
    rounded are read anew.
    """
    if isinstance(shapes, Regions):
        if not whole:
            return shapes
        shapes = [shapes.polygons[i] for i in range(len(shapes))]
    return to_regions(read_polygons(shapes, whole=whole))


def to_regions(polygons: Polygons) -> Regions:
    """The regions that polygons enclose."""
    count = len(polygons)
    areas, simple = np.zeros(count), np.zeros(count, dtype=bool)
    quads, corners = polygons.quads()
    areas[quads], simple[quads] = _plain_quads(corners)
    shapes = np.full(count, None, dtype=object)
    rest = (~simple & (polygons.lengths > 0)).nonzero()[0]
    if len(rest):
        shapes[rest], valid = to_geometries(polygons.take(rest))
        areas[rest] = shapely.area(shapes[rest])
        simple[rest] = valid
    boxes = bounding_boxes(polygons.points, polygons.starts, polygons.lengths)
    flat = areas == 0
    if flat.any():
        boxes.low[:, flat], boxes.high[:, flat] = np.inf, -np.inf
    return Regions(polygons, areas, boxes, simple, shapes)


def _plain_quads(corners: Points) -> tuple[Points, Bools]:
    """`(n,)` areas of quads, and whether they surely do not cross themselves.

    A quad turns the same way at all corners (convex), at three (a dart) or at two, and
    only in the last case two of its sides cross.
    """
    x, y = np.ascontiguousarray(corners.T)
    across, down = x[_NEXT] - x, y[_NEXT] - y
    turns = across * down[_NEXT] - down * across[_NEXT]
    size = (across * across + down * down).max(axis=0)
    clear = (np.abs(turns) > _FLAT * size).all(axis=0)
    areas = np.abs((x[2] - x[0]) * (y[3] - y[1]) - (y[2] - y[0]) * (x[3] - x[1])) / 2
    simple = clear & ((turns > 0).sum(axis=0) != 2)
    return np.where(simple, areas, 0), simple


def to_geometries(polygons: Polygons) -> tuple[Geometries, Bools]:
    """`(N,)` shapely geometries of polygons of three points or more, and whether each
    outline was a valid one. Degenerate ones are empty."""
    shapes = np.full(len(polygons), None, dtype=object)
    if not len(polygons):
        return shapes, np.zeros(0, dtype=bool)
    points = np.arange(len(polygons.points))
    closed = np.insert(points, polygons.starts + polygons.lengths, polygons.starts)
    owner = np.repeat(np.arange(len(polygons)), polygons.lengths + 1)
    shapes[:] = shapely.polygons(shapely.linearrings(polygons.points[closed], indices=owner))
    valid = np.asarray(shapely.is_valid(shapes))
    # make_valid leaves the lines of a degenerate outline behind; buffer(0) drops them
    shapes[~valid] = shapely.buffer(shapely.make_valid(shapes[~valid]), 0)
    return shapes, valid
