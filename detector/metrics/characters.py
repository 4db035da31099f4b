"""How many characters shapes stand for, and where their centres lie.

The pseudo-character centres of CLEval (arXiv:2006.06244, section 3.1), for whole pages.
Points are float64 xy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from detector.core.geometry import canonical_order
from detector.metrics.polygons import Indices, Points, Polygons

Dialect = Literal["competition", "official"]

# A word less than half as wide as high is read from top to bottom (reference: 0.5).
VERTICAL_RATIO = 0.5
# The most characters a shape without a transcription stands for, as in the references.
_MAX_PSEUDO = {"competition": 100, "official": 10}
_MAX_FALSE = 10
# Boxes whose areas differ by less are equally small.
_SAME_AREA = 1e-9
_NEXT, _BEFORE = np.array([1, 2, 3, 0]), np.array([3, 0, 1, 2])
# The six directions between the corners of a quad, four of which are its sides.
_FROM, _TO = np.array([0, 1, 2, 3, 0, 1]), np.array([1, 2, 3, 0, 2, 3])


def count_characters(dialect: Dialect, polygons: Polygons, texts: Sequence[str | None]) -> Indices:
    """`(N,)` characters of words: of their texts (official), else as their shapes suggest."""
    if dialect == "official":
        counts = np.array([-1 if text is None else len(text) for text in texts], dtype=np.intp)
    else:
        counts = np.full(len(polygons), -1, dtype=np.intp)
    untold = np.flatnonzero(counts < 0)
    if len(untold):
        ratios = width_to_height(dialect, polygons, untold)
        counts[untold] = _as_many(np.maximum(ratios, 1 / ratios), _MAX_PSEUDO[dialect])
    return counts


def count_false_characters(dialect: Dialect, polygons: Polygons) -> Indices:
    """`(N,)` characters of detections without a word, as many as the references count.

    The official tool takes height over width, so that a wide shape costs one character,
    the contest's the opposite. Neither suits all text; their published figures need it.
    """
    ratios = width_to_height(dialect, polygons, np.arange(len(polygons)))
    if dialect == "official":
        return _as_many(1 / (ratios + 1e-5), _MAX_FALSE)
    return _as_many(ratios, _MAX_PSEUDO[dialect])


def _as_many(ratios: Points, most: int) -> Indices:
    return np.minimum(np.rint(0.5 + np.minimum(ratios, most)), most).astype(np.intp)


def width_to_height(dialect: Dialect, polygons: Polygons, members: Indices) -> Points:
    """`(n,)` ratios of shapes, from 1e-3 to 1e6; 1 for one too small to measure."""
    ratios = np.ones(len(members))
    quads = polygons.lengths[members] == 4
    if quads.any():
        corners = polygons.table(members[quads], 4)
        if dialect == "official":
            horizontal, vertical = side_lengths(corners)
            ratios[quads] = (horizontal + 1e-5) / (vertical + 1e-5)
        else:
            ratios[quads] = _ratio(*quad_box_sides(corners))
    others = np.flatnonzero(~quads)
    if len(others):
        sides = [box_sides(polygons[i]) for i in members[others].tolist()]
        ratios[others] = _ratio(*np.array(sides).T)
    return ratios


def _ratio(horizontal: Points, vertical: Points) -> Points:
    some = (horizontal > 0) | (vertical > 0)
    least = np.maximum(vertical, 1e-6 * horizontal)
    ratios = np.divide(horizontal, least, out=np.ones(len(some)), where=some)
    # float32 noise of the box must not decide about whole ratios, which round half to even
    return np.maximum(np.round(ratios, 3), 1e-3)


def side_lengths(corners: Points) -> tuple[Points, Points]:
    """Mean horizontal (first, third) and vertical side of `(n, 4, 2)` quads, each `(n,)`."""
    x, y = np.ascontiguousarray(corners.T)
    right, down = x[_NEXT] - x, y[_NEXT] - y
    top, right, bottom, left = np.sqrt(right * right + down * down)
    return (top + bottom) / 2, (right + left) / 2


def box_sides(points: Points) -> tuple[float, float]:
    """Horizontal and vertical side of the smallest rotated box around `(K, 2)` points.

    Horizontal is the side within 45 degrees of the x axis. `(0, 0)` without points.
    """
    if not len(points):
        return 0.0, 0.0
    local = (points - points[0]).astype(np.float32)  # float32 is exact near the origin only
    _, (width, height), angle = cv2.minAreaRect(local)
    if abs(np.cos(np.radians(angle))) < np.sqrt(0.5):
        width, height = height, width
    return float(width), float(height)


def quad_box_sides(corners: Points) -> tuple[Points, Points]:
    """`box_sides` of `(n, 4, 2)` quads, each `(n,)`.

    A smallest box has a side along one of the hull, and so along one of the six directions
    between the corners; along the other ones boxes are no smaller. Of equally small ones
    (three around a triangular hull) it is the one with the longest horizontal side.
    """
    x, y = np.ascontiguousarray((corners - corners[:, :1]).T)
    right, down = x[_TO] - x[_FROM], y[_TO] - y[_FROM]  # (6, n)
    length = np.sqrt(right * right + down * down)
    somewhere = np.where(length > 0, length, 1)
    cosine, sine = right / somewhere, down / somewhere
    along = x[:, None] * cosine + y[:, None] * sine  # (4, 6, n)
    aside = y[:, None] * cosine - x[:, None] * sine
    width, height = along.max(axis=0) - along.min(axis=0), aside.max(axis=0) - aside.min(axis=0)
    level = (np.abs(down) < np.abs(right)) | (down == -right)  # from -45 to below 45 degrees
    horizontal, vertical = np.where(level, width, height), np.where(level, height, width)
    areas = np.where(length > 0, width * height, np.inf)
    smallest = areas <= areas.min(axis=0) * (1 + _SAME_AREA)
    best = np.where(smallest, horizontal, -1).argmax(axis=0)
    chosen = best, np.arange(len(best))
    return horizontal[chosen], vertical[chosen]


def reading_order(dialect: Dialect, polygons: Polygons) -> Polygons:
    """Words from the corner where reading starts: half of the points are the top edge.

    Quads that are taller than wide (`VERTICAL_RATIO`) start one corner earlier, so that
    their centres run down the page. The official dialect trusts the order given, the
    competition finds it from the shape, in single precision like its data.
    """
    points = polygons.points.copy()
    quads, corners = polygons.quads()
    if dialect == "competition":
        corners = _canonical_quads(corners)
        for i in np.flatnonzero(polygons.lengths != 4).tolist():
            part = slice(polygons.starts[i], polygons.starts[i] + polygons.lengths[i])
            points[part] = shortest_rungs(canonical_order(points[part]).astype(np.float64))
    horizontal, vertical = side_lengths(corners)
    upright = horizontal + 1e-5 < VERTICAL_RATIO * (vertical + 1e-5)
    if upright.any():
        corners = np.where(upright[:, None, None], corners[:, _BEFORE], corners)
    if polygons.only_quads:
        return replace(polygons, points=corners.reshape(-1, 2))
    points[polygons.starts[quads][:, None] + np.arange(4)] = corners
    return replace(polygons, points=points)


def _canonical_quads(corners: Points) -> Points:
    """`detector.core.geometry.canonical_order` of `(n, 4, 2)` quads at once."""
    corners = corners.astype(np.float32).astype(np.float64)
    x, y = (corners[:, 1:] - corners[:, :1]).T
    backwards = x[0] * y[1] + x[1] * y[2] < y[0] * x[1] + y[1] * x[2]
    corners[backwards] = corners[backwards, ::-1]
    x, y = np.ascontiguousarray(corners.T)
    sums = x + y
    first = sums == sums.min(axis=0)
    first &= y == np.where(first, y, np.inf).min(axis=0)
    start = (first & ~first[_BEFORE]).argmax(axis=0)  # the first of a run of equal points
    return corners[np.arange(len(corners))[:, None], (start[:, None] + np.arange(4)) % 4]


def shortest_rungs(points: Points) -> Points:
    """The polygon from the corner where its two long edges are nearest to each other.

    For outlines of more than four points, where the top-left vertex need not be a corner
    of the word. Rungs join the vertices facing each other on the two edges; the start with
    the shortest longest rung wins, and the given one when none is shorter.
    """
    count = len(points)
    if count <= 4:
        return points
    starts = (np.arange(count)[None] + np.arange(count)[:, None]) % count
    turned = points[starts]
    half = count // 2
    rungs = np.linalg.norm(turned[:, :half] - turned[:, ::-1][:, :half], axis=2).max(axis=1)
    best = int(np.argmin(rungs))
    return turned[best] if rungs[best] < rungs[0] * (1 - 1e-6) else points


def pseudo_centres(polygons: Polygons, counts: Indices) -> tuple[Points, Indices]:
    """`counts[i]` centres along the middle line of polygon i, and the polygon of each.

    The first half of a polygon's points is its top edge, the rest its bottom edge read
    backwards. Returns `(P, 2)` xy float64 and `(P,)` indices, ascending.
    """
    owner = np.repeat(np.arange(len(polygons)), counts)
    rank = np.arange(len(owner)) - np.repeat(counts.cumsum() - counts, counts)
    shares = np.stack([rank, rank + 1]) / counts[owner]
    if polygons.only_quads:
        return _middle(polygons.points, polygons.starts[owner], 4, shares), owner
    centres = np.zeros((len(owner), 2))
    lengths = polygons.lengths[owner]
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        starts = polygons.starts[owner[chosen]]
        centres[chosen] = _middle(polygons.points, starts, length, shares[:, chosen])
    return centres, owner


def _middle(points: Points, starts: Indices, length: int, shares: Points) -> Points:
    """`(P, 2)` means of four points: at both `shares` `(2, P)` of the way along the top and
    the bottom edge of polygons, each section of an edge counting alike."""
    half = length // 2
    sections = np.array([half - 1, length - half - 1])[:, None, None]
    step = np.array([1, -1])[:, None, None]
    position = shares * sections  # (edge, share, P)
    left = np.minimum(position.astype(np.intp), np.maximum(sections - 1, 0))
    weight = position - left
    origin = starts + np.array([0, length - 1])[:, None, None]
    xy = np.ascontiguousarray(points.T)
    near = xy.take(origin + step * left, axis=1)  # (xy, edge, share, P)
    far = xy.take(origin + step * np.minimum(left + 1, sections), axis=1)
    along = (near * (1 - weight) + far * weight) / 4
    middle = along[:, 0, 0] + along[:, 0, 1] + along[:, 1, 0] + along[:, 1, 1]
    return np.ascontiguousarray(middle.T)
