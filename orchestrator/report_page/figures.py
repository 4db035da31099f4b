"""Plotly figures as plain JSON objects, which are made much faster than plotly's own classes.

Colours are between light and dark, so that they stand out on both; what else depends on the theme
is added by the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

BLUE, ORANGE, GREEN, PINK, GREY = "#2f86c9", "#d55e00", "#009e73", "#cc79a7", "#8a8f98"
LEAST_SPREAD = 0.01  # of H-means: less than that is no reason to look closer
MOST_TICKS = 12  # of every number on a phone
SERIES = (ORANGE, BLUE, GREEN, PINK, "#b58900")  # the leaders, the first one most visible
# From weak to strong, on light and on dark.
SCALE = ("#8a8f98", "#5f8fb8", "#2f86c9", "#8f7a3c", "#d55e00")


def lines(x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """A line, with gaps where y is None."""
    return {"type": "scatter", "mode": "lines", "x": list(x), "y": list(y)} | more


def points(x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """Points, with `text` shown where the pointer is."""
    return {"type": "scatter", "mode": "markers", "x": list(x), "y": list(y)} | more


def frame(
    inner: Iterable[float], every: Iterable[float], *, spreads: float
) -> tuple[float, float] | None:
    """Limits of an axis for `inner` values, where some of `every` lie far below; else None.

    A trial that found nothing would press all others into a line. Far is more than so many
    `spreads` of the upper four fifths below them.
    """
    known = sorted(inner)
    if not known:
        return None
    low, high = known[len(known) // 5], known[-1]
    floor = max(0.0, low - spreads * max(high - low, LEAST_SPREAD))
    shown = [*known, *every]
    if min(shown) >= floor:
        return None
    return floor, max(shown) + 0.05 * (max(shown) - floor)


def below(values: Iterable[float], limits: tuple[float, float] | None) -> int:
    """How many values the limits leave out."""
    return 0 if limits is None else sum(value < limits[0] for value in values)


def whole_numbers(largest: int) -> dict[str, Any]:
    """An axis up to `largest` with no tick between two numbers, where plotly would put some."""
    return {"tickformat": "d"} | ({"dtick": 1} if largest <= MOST_TICKS else {})


def figure(data: list[dict[str, Any]], x: str, y: str, **layout: Any) -> dict[str, Any]:
    """A figure with titled axes; `layout` is plotly's."""
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for key in axes:
        axes[key] |= layout.pop(key, {})
    return {"data": data, "layout": axes | layout}
