"""Pseudo-character centres (CLEval, arXiv:2006.06244, section 3.1) of whole pages at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A word less than half as wide as high is read from top to bottom (reference: 0.5).
VERTICAL_RATIO = 0.5

Points = NDArray[np.float64]


def side_lengths(quad: Points) -> tuple[float, float]:
    """Mean horizontal (first, third) and vertical side of a `(4, 2)` quad."""
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    return float(sides[0] + sides[2]) / 2, float(sides[1] + sides[3]) / 2


def reading_start(points: Points) -> Points:
    """The polygon from the corner where reading starts.

    `(K, 2)` points whose first half is taken for the top edge. A quad that is taller than
    wide (`VERTICAL_RATIO`) starts one corner earlier, so its centres run down the page.
    """
    if len(points) != 4:
        return points
    horizontal, vertical = side_lengths(points)
    if horizontal + 1e-5 < VERTICAL_RATIO * (vertical + 1e-5):
        return np.roll(points, 1, axis=0)
    return points


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


def pseudo_centres(
    polygons: Sequence[Points], counts: NDArray[np.intp]
) -> tuple[Points, NDArray[np.intp]]:
    """`counts[i]` centres along the middle line of polygon i, and the polygon of each.

    The first half of a polygon's points is its top edge, the rest its bottom edge read
    backwards. Returns `(P, 2)` xy float64 and `(P,)` indices, ascending.
    """
    owner = np.repeat(np.arange(len(polygons)), counts)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    centres = np.zeros((len(owner), 2))
    lengths = np.array([len(p) for p in polygons], dtype=np.intp)
    for length in np.unique(lengths[counts > 0]):
        members = np.flatnonzero(lengths == length)
        shapes = np.stack([polygons[i] for i in members])
        chosen = np.flatnonzero(lengths[owner] == length)
        rows = np.searchsorted(members, owner[chosen])
        total = counts[owner[chosen]]
        middle = sum(
            _along(edge, rows, (rank[chosen] + step) / total)
            for edge in (shapes[:, : length // 2], shapes[:, length // 2 :][:, ::-1])
            for step in (0, 1)
        )
        centres[chosen] = middle / 4
    return centres, owner


def _along(edges: Points, rows: NDArray[np.intp], share: Points) -> Points:
    """Points at a share of the way along edges `(N, M, 2)`, each section counting alike."""
    last = edges.shape[1] - 1
    position = share * last
    left = np.minimum(position.astype(np.intp), max(last - 1, 0))
    weight = (position - left)[:, None]
    return edges[rows, left] * (1 - weight) + edges[rows, np.minimum(left + 1, last)] * weight
