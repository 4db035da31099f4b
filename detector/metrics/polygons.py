"""The polygons of one page as arrays, whatever their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Indices = NDArray[np.intp]

# Beyond this many pixels a coordinate is a fault, and areas would lose their whole pixels.
MAX_COORDINATE = 2.0**31


@dataclass(frozen=True, eq=False)
class Polygons:
    """N polygons, one after the other; those that could not be read have no points."""

    points: Points  # (T, 2) float64 xy in pixels
    lengths: Indices  # (N,) points of each
    starts: Indices  # (N,) index of its first point

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Points:
        """`(K, 2)` points of one polygon, a view."""
        start = self.starts[index]
        return self.points[start : start + self.lengths[index]]

    @cached_property
    def only_quads(self) -> bool:
        """Whether every polygon has four points, which is common and allows for shortcuts."""
        return bool((self.lengths == 4).all())

    def table(self, members: Indices, width: int) -> Points:
        """`(n, width, 2)` points of `members`, which have from 1 to `width` points.

        Shorter ones are filled up with their first point. That adds edges without length
        after the closing edge, so edges counted from the start are the polygon's own.
        """
        if self.only_quads and width == 4:
            return self.points.reshape(-1, 4, 2).take(members, axis=0)
        lengths, starts = self.lengths[members], self.starts[members]
        steps = np.arange(width)
        if (lengths != width).any():
            steps = np.where(steps < lengths[:, None], steps, 0)
        return self.points.take(starts[:, None] + steps, axis=0)

    def quads(self) -> tuple[Indices | slice, Points]:
        """The indices of those with four points, and their corners `(n, 4, 2)`."""
        if self.only_quads:
            return slice(None), self.points.reshape(-1, 4, 2)
        members = (self.lengths == 4).nonzero()[0]
        return members, self.table(members, 4)

    def take(self, members: Indices) -> Polygons:
        """Some of the polygons, in the order of `members`."""
        lengths = self.lengths[members]
        ends = np.cumsum(lengths)
        shift = np.repeat(self.starts[members] - (ends - lengths), lengths)
        return Polygons(self.points[np.arange(len(shift)) + shift], lengths, ends - lengths)


def read_polygons(polygons: Sequence[ArrayLike], *, whole: bool = False) -> Polygons:
    """Polygons from `(K, 2)` xy; `whole` rounds to whole pixels.

    Never raises: what `as_points` cannot read has no points.
    """
    try:  # one call where all are alike, which is thirty times faster than one for each
        points = np.concatenate(polygons, dtype=np.float64)
        lengths = np.fromiter(map(len, polygons), np.intp, len(polygons))  # type: ignore[arg-type]
        regular = points.ndim == 2 and points.shape[1] == 2 and lengths.min() >= 3
    except (TypeError, ValueError, OverflowError):
        regular = False
    if not regular or not np.abs(points).max() <= MAX_COORDINATE:  # also for NaN
        read = [as_points(p) for p in polygons]
        points = np.concatenate([np.zeros((0, 2)), *read])
        lengths = np.array([len(p) for p in read], dtype=np.intp)
    return Polygons(np.rint(points) if whole else points, lengths, lengths.cumsum() - lengths)


def as_points(polygon: ArrayLike) -> Points:
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
