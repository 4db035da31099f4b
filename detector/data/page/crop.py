"""The part of a page that holds its text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from detector.core.geometry import Points

Box = tuple[int, int, int, int]


def text_box(polygons: Sequence[Points], size: tuple[int, int], margin: float) -> Box | None:
    """`(x0, y0, x1, y1)` in pixels, ends exclusive: the extent of all polygons and a margin.

    Args:
        polygons: `(K, 2)` xy; they may reach beyond the page.
        size: (width, height) of the page, which the box does not leave.
        margin: added on all four sides, as a share of the extent's longer side.

    Returns:
        None when there is no text on the page, which then has no better part than itself.
    """
    points = np.concatenate([np.zeros((0, 2)), *polygons])
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    edge = margin * float((high - low).max())
    x0, x1 = _pixels(low[0] - edge, high[0] + edge, size[0])
    y0, y1 = _pixels(low[1] - edge, high[1] + edge, size[1])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _pixels(low: float, high: float, length: int) -> tuple[int, int]:
    """First pixel and end of those on [low, high]; pixel i reaches from i - 0.5 to i + 0.5."""
    first = max(0, math.floor(low + 0.5))
    end = max(math.ceil(high + 0.5), first + 1)  # a point between two pixels has one of them
    return first, min(length, end)
