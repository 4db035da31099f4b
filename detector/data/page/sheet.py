"""The shape of a sheet of paper from its outline: a quadrilateral, and how it departs from it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 8  # of fitting; sides turn by some degrees in the first two, then by hundredths
_CUT_PX = 1.5  # outline this near to the page's edge is where the picture ends, not the paper
_CORNER = 0.08  # of a side at each end, left out of its line: corners are round, bent and torn
_BINS = 12  # parts of a side; the longest receipts then have a point for every fold
_COVERED = 0.5  # of those parts must show outline, or the side could lie anywhere
_FEWEST = 3  # outline points in a part that count
_STRAIGHT = 0.05  # of the shorter side, how far outline may lie from its side ...
_RAGGED = 0.05  # ... except this share of it: torn corners, a finger
_SHORTEST = 0.1  # of the longest side; receipts are up to about eight times as long as wide
_OPPOSITE = 0.6  # ratio of opposite sides; a camera so near to one end that it were less ...
_LARGEST_COSINE = 0.5  # ... or corners under 60 or over 120 degrees are no usual photograph
_RECTANGLE = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
_SMALLEST = 0.15  # share of the page that a receipt fills at least, as for its background


def find_quadrilateral(outline: NDArray[Any], size: tuple[int, int]) -> Floats | None:
    """Corners of the sheet with that outline on a page of (width, height) `size`.

    A line is fitted to each side (Huber's norm, so that a bent side gets its middle), without
    what runs along the edge of the page; corners are where the lines meet, so they may lie off
    the page.

    Args:
        outline: (K, 2) xy in px, every pixel of the closed outline.

    Returns:
        (4, 2) float64 xy, clockwise on screen; the first side is the one nearest to pointing
        right. None when a side is mostly not seen, when the outline does not follow the sides,
        or when they make no plausible view of a rectangle.
    """
    limits = np.array(size, np.float64) - 1
    free = ((outline > _CUT_PX) & (outline < limits - _CUT_PX)).all(axis=1)
    seen = outline[free].astype(np.float64)
    box = cv2.minAreaRect(outline.astype(np.float32))
    corners = _from_right(np.array(cv2.boxPoints(box), np.float64))
    for _ in range(_ROUNDS):
        lines = _side_lines(seen, corners)
        met = None if lines is None else _meeting_points(lines)
        if met is None:
            return None
        corners = met
    distances = _distances(seen, corners).min(axis=1)
    allowed = _STRAIGHT * side_lengths(corners).min()
    if np.quantile(distances, 1 - _RAGGED) > allowed or not _is_plausible(corners, size):
        return None
    return _from_right(corners)


def side_lengths(corners: Floats) -> Floats:
    """Lengths of the four sides, (4,), each from its corner to the next."""
    return np.asarray(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1))


def is_convex(corners: Floats) -> bool:
    """Whether (4, 2) corners run clockwise on screen around a convex quadrilateral."""
    return bool((_turns(corners) > 0).all())


def outline_bends(outline: Floats, shape: Floats) -> tuple[Floats, Floats]:
    """How an outline departs from the upright rectangle from (0, 0) to `shape`.

    Places, (N, 2) float64 at equal distances on the rectangle's sides, and (N, 2) moves that
    take them to the outline: perpendicular to the side by the median over a twelfth of it. Along
    the side nothing is seen, so it is what the two sides beside it do at their ends, in
    proportion. Twelfths without outline have no place; without one whole side there is none.

    Args:
        outline: (K, 2) xy, points near the sides, any number on each.
        shape: (2,) width and height.
    """
    departures = _departures(outline, shape)
    known = [np.flatnonzero(np.isfinite(values)) for values in departures]
    if not all(len(parts) for parts in known):
        return np.zeros((0, 2)), np.zeros((0, 2))
    places, moves = [], []
    for side, parts in enumerate(known):
        along, far = side % 2, side in (1, 2)
        share = (parts + 0.5) / _BINS
        # The sides left and right of an upper or lower one, above and below of one beside.
        ends = [departures[k][known[k][-1 if far else 0]] for k in ((3, 1), (0, 2))[along]]
        place, move = np.empty((2, len(parts), 2))
        place[:, along], place[:, 1 - along] = share * shape[along], far * shape[1 - along]
        move[:, along] = (1 - share) * ends[0] + share * ends[1]
        move[:, 1 - along] = departures[side][parts]
        places.append(place)
        moves.append(move)
    return np.concatenate(places), np.concatenate(moves)


def _departures(outline: Floats, shape: Floats) -> Floats:
    """Median x or y by which twelfths of the outline lie beyond their side, (4, 12); NaN = none.

    Upper, right, lower and left side, each from its left or upper end on.
    """
    nearest = _distances(outline, _RECTANGLE * shape).argmin(axis=1)
    found = np.full((4, _BINS), np.nan)
    for side in range(4):
        along = side % 2  # 0 for the upper and lower side
        points = outline[nearest == side]
        part = np.floor(points[:, along] / shape[along] * _BINS)
        level = shape[1 - along] if side in (1, 2) else 0.0
        for i in range(_BINS):
            members = points[part == i, 1 - along]
            if len(members) >= _FEWEST:
                found[side, i] = np.median(members) - level
    return found


def _side_lines(points: Floats, corners: Floats) -> Floats | None:
    """A line through the points of each side, (4, 4): direction and a point; None without any."""
    nearest = _distances(points, corners).argmin(axis=1)
    lines = []
    for side in range(4):
        start, end = corners[side], corners[(side + 1) % 4]
        members = points[nearest == side]
        share = (members - start) @ (end - start) / max(1e-9, float(np.sum((end - start) ** 2)))
        members = members[(share > _CORNER) & (share < 1 - _CORNER)]
        parts = np.bincount(np.clip(share * _BINS, 0, _BINS - 1).astype(int), minlength=_BINS)
        if (parts >= _FEWEST).mean() < _COVERED or len(members) < _FEWEST:
            return None
        fitted = cv2.fitLine(members.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01)
        lines.append(np.ravel(fitted))
    return np.array(lines, np.float64)


def _meeting_points(lines: Floats) -> Floats | None:
    """Where each line meets the one before it, (4, 2); None when two are nearly parallel."""
    corners = []
    for line, before in zip(lines, np.roll(lines, 1, axis=0), strict=True):
        directions = np.column_stack([line[:2], -before[:2]])
        if abs(np.linalg.det(directions)) < 0.1:
            return None
        corners.append(line[2:] + np.linalg.solve(directions, before[2:] - line[2:])[0] * line[:2])
    return np.array(corners)


def _distances(points: Floats, corners: Floats) -> Floats:
    """From each of (K, 2) points to each of the four sides, (K, 4)."""
    found = np.empty((len(points), 4))
    for side in range(4):
        start, along = corners[side], corners[(side + 1) % 4] - corners[side]
        share = (points - start) @ along / max(1e-9, float(along @ along))
        foot = start + np.clip(share, 0, 1)[:, None] * along
        found[:, side] = np.linalg.norm(points - foot, axis=1)
    return found


def _is_plausible(corners: Floats, size: tuple[int, int]) -> bool:
    """Whether the corners, clockwise, are a usual photograph of a receipt."""
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(side_lengths(corners), 1e-9)
    before = np.roll(sides, 1, axis=0)
    cosines = (before * sides).sum(axis=1) / (lengths * np.roll(lengths, 1))
    opposite = lengths / np.roll(lengths, 2)
    area = 0.5 * float(np.sum(_turns(corners)[[1, 3]]))  # of the triangles beside a diagonal
    return bool(
        is_convex(corners)
        and np.abs(cosines).max() <= _LARGEST_COSINE
        and lengths.min() >= _SHORTEST * lengths.max()
        and opposite.min() >= _OPPOSITE
        and area >= _SMALLEST * size[0] * size[1]
    )


def _turns(corners: Floats) -> Floats:
    """Cross product of the sides that meet at each corner, (4,): positive for a turn clockwise."""
    after = np.roll(corners, -1, axis=0) - corners
    before = np.roll(after, 1, axis=0)
    return np.asarray(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])


def _from_right(corners: Floats) -> Floats:
    """The same clockwise corners from the side that points right, or nearest to it, on."""
    sides = np.roll(corners, -1, axis=0) - corners
    right = sides[:, 0] / np.maximum(np.linalg.norm(sides, axis=1), 1e-9)
    return np.roll(corners, -int(right.argmax()), axis=0)
