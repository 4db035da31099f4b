"""How many characters a shape stands for, and where their centres lie.

The pseudo-character centres of CLEval (arXiv:2006.06244, section 3.1), for whole pages.
Points are `(K, 2)` float64 xy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.metrics.regions import box_sides

Dialect = Literal["competition", "official"]

# A word less than half as wide as high is read from top to bottom (reference: 0.5).
VERTICAL_RATIO = 0.5
# The most characters a shape without a transcription stands for, as in the references.
_MAX_PSEUDO = {"competition": 100, "official": 10}
_MAX_FALSE = 10

Points = NDArray[np.float64]


def count_characters(dialect: Dialect, points: Points, text: str | None) -> int:
    """Characters of a word: of its text (official), else as many as its shape suggests."""
    if dialect == "official" and text is not None:
        return len(text)
    ratio = _width_to_height(dialect, points)
    return _as_many(max(ratio, 1 / ratio), _MAX_PSEUDO[dialect])


def count_false_characters(dialect: Dialect, points: Points) -> int:
    """Characters of a detection without a word, as many as the references count.

    The official tool takes height over width, so that a wide shape costs one character,
    the contest's the opposite. Neither suits all text; their published figures need it.
    """
    ratio = _width_to_height(dialect, points)
    if dialect == "official":
        return _as_many(1 / (ratio + 1e-5), _MAX_FALSE)
    return _as_many(ratio, _MAX_PSEUDO[dialect])


def _as_many(ratio: float, most: int) -> int:
    return min(round(0.5 + min(ratio, most)), most)


def _width_to_height(dialect: Dialect, points: Points) -> float:
    """The ratio of a shape, from 1e-3 to 1e6; 1 for one too small to measure."""
    if dialect == "official" and len(points) == 4:
        horizontal, vertical = side_lengths(points)
        return (horizontal + 1e-5) / (vertical + 1e-5)
    horizontal, vertical = box_sides(points)
    if not horizontal and not vertical:
        return 1.0
    ratio = horizontal / max(vertical, 1e-6 * horizontal)
    # float32 noise of the box must not decide about whole ratios, which round half to even
    return float(max(round(ratio, 3), 1e-3))


def side_lengths(quad: Points) -> tuple[float, float]:
    """Mean horizontal (first, third) and vertical side of a `(4, 2)` quad."""
    edges = quad[[1, 2, 3, 0]] - quad
    top, right, bottom, left = np.hypot(edges[:, 0], edges[:, 1]).tolist()
    return (top + bottom) / 2, (right + left) / 2


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
        shapes = np.stack([polygons[i] for i in members.tolist()])
        chosen = np.flatnonzero(lengths[owner] == length)
        rows = np.searchsorted(members, owner[chosen])
        total = counts[owner[chosen]]
        for edge in (shapes[:, : length // 2], shapes[:, length // 2 :][:, ::-1]):
            for step in (0, 1):
                centres[chosen] += _along(edge, rows, (rank[chosen] + step) / total) / 4
    return centres, owner


def _along(edges: Points, rows: NDArray[np.intp], share: Points) -> Points:
    """Points at a share of the way along edges `(N, M, 2)`, each section counting alike."""
    last = edges.shape[1] - 1
    position = share * last
    left = np.minimum(position.astype(np.intp), max(last - 1, 0))
    weight = (position - left)[:, None]
    return edges[rows, left] * (1 - weight) + edges[rows, np.minimum(left + 1, last)] * weight
