"""Parallel coordinates: a line for each trial through its H-mean and its settings.

Optuna's figure of this name is made by plotly's parallel coordinates up to version 4, which
compile code at run time, as the page forbids, and by a trace for each trial from version 5, which
is slow for hundreds. Here all trials of a colour are one line with gaps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report_page.figures import SCALE, escaped, figure, lines
from orchestrator.space.parameters import Parameter
from orchestrator.trials.records import TrialRecord

MOST_TICKS = 12  # choices that are named beside an axis


@dataclass(frozen=True)
class Axis:
    """Heights in [0, 1] by trial, None where a setting does not apply, and what stands beside."""

    label: str
    heights: tuple[float | None, ...]
    ticks: tuple[tuple[float, str], ...]


def axis(label: str, values: Sequence[Any], *, log: bool = False) -> Axis:
    """The axis of some values: by size where all are numbers, else a place for each choice."""
    known = [value for value in values if value is not None]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in known):
        choices = sorted({str(value) for value in known})
        places = {choice: _share(i, 0, len(choices) - 1) for i, choice in enumerate(choices)}
        heights = tuple(None if v is None else places[str(v)] for v in values)
        ticks = [(place, choice) for choice, place in places.items()]
        return Axis(label, heights, tuple(ticks[:MOST_TICKS]))
    scaled = [None if v is None else math.log10(v) if log else float(v) for v in values]
    there = [v for v in scaled if v is not None]
    low, high = min(there), max(there)
    ends = {_share(v, low, high): f"{10**v if log else v:.3g}" for v in (low, high)}
    heights = tuple(None if v is None else _share(v, low, high) for v in scaled)
    return Axis(label, heights, tuple(ends.items()))


def axes_of(
    records: Sequence[TrialRecord], parameters: Mapping[str, Parameter], shown: Sequence[str]
) -> list[Axis]:
    """The H-mean, then the settings `shown`."""
    axes = [axis("H-mean", [r.hmean for r in records])]
    for key in shown:
        log = parameters[key].kind == "log_uniform"
        axes.append(axis(key.rpartition(".")[2], [r.params.get(key) for r in records], log=log))
    return axes


def coordinates(axes: Sequence[Axis]) -> dict[str, Any]:
    """The figure; trials are coloured by fifths of the first axis, the highest last and bold."""
    trials = list(zip(*(a.heights for a in axes), strict=True))
    order = sorted(range(len(trials)), key=lambda i: trials[i][0] or 0.0)
    data = []
    for part, colour in enumerate(SCALE):
        x: list[int | None] = []
        y: list[float | None] = []
        first, last = (len(order) * k // len(SCALE) for k in (part, part + 1))
        for i in order[first:last]:
            x += [*range(len(axes)), None]
            y += [*trials[i], None]
        best = part == len(SCALE) - 1
        style = {"color": colour, "width": 2 if best else 1}
        data.append(lines(x, y, line=style, opacity=0.9 if best else 0.5, hoverinfo="skip"))
    xaxis = {
        "tickvals": list(range(len(axes))),
        "ticktext": [escaped(a.label) for a in axes],
        "range": [-0.2, len(axes) - 0.3],
        "fixedrange": True,
    }
    yaxis = {"visible": False, "range": [-0.05, 1.05], "fixedrange": True}
    marks = [_mark(place, tick) for place, a in enumerate(axes) for tick in a.ticks]
    return figure(data, "", "", xaxis=xaxis, yaxis=yaxis, showlegend=False, annotations=marks)


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else (value - low) / (high - low)


def _mark(place: int, tick: tuple[float, str]) -> dict[str, Any]:
    height, text = tick
    beside = {"showarrow": False, "xanchor": "left", "xshift": 4, "font": {"size": 11}}
    return {"x": place, "y": height, "text": escaped(text[:24])} | beside
