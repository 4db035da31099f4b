"""What the settings do: Optuna's importances and slices of those searched, and `box_thresh`.

Importances and slices look at trials that were trained to the end alone, so epochs are not mixed.
The H-mean by `box_thresh` is from what the leaders' trainings have kept.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna import visualization

from detector.training.storage.best import BOX_THRESH
from orchestrator.report_page.blocks import (
    Block,
    Chart,
    Paragraph,
    Section,
    counted,
    listed,
    score,
)
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.figures import BLUE, SCALE, SERIES, figure, lines
from orchestrator.trials.records import TrialRecord, TrialState

TARGET = "H-mean"
FEW = 20  # finished trials below which importances are a hint at most
SHOWN = 8  # settings in slices, the most important ones
_SLICE_PX = 210
LEADERS = 5
SLACK = 0.002  # of H-mean: what is lost without anybody noticing
BOX_THRESH_TITLE = "H-mean by box_thresh"


def section(facts: RunFacts) -> Section:
    """Importances, and the H-mean by setting."""
    title = "What the settings do"
    finished = len(facts.of(TrialState.FINISHED))
    searched = _varied(facts)
    if finished < 2 or not searched:
        why = "fewer than two trials were trained to the end" if finished < 2 else "none varied"
        return Section("settings", title, [Paragraph(f"Nothing to compare: {why}.")])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Optuna, where all scores are alike
            blocks = _charts(facts, searched)
    except Exception as error:  # the page has other parts
        text = f"Optuna draws nothing of these {counted(finished, 'trial')}: {error}"
        return Section("settings", title, [Paragraph(text)])
    return Section("settings", title, [*_notes(finished, searched), *blocks])


def _charts(facts: RunFacts, searched: Sequence[str]) -> list[Chart]:
    values = optuna.importance.get_param_importances(facts.study, params=list(searched))
    shown = [key for key in values if not math.isnan(values[key])][:SHOWN]
    return [_importance(facts, values), _slices(facts, shown)]


def _varied(facts: RunFacts) -> list[str]:
    """The searched settings that have more than one value among finished trials."""
    finished = facts.of(TrialState.FINISHED)
    return [
        key
        for key in facts.space.parameters
        if len({repr(r.params[key]) for r in finished if key in r.params}) > 1
    ]


def _notes(finished: int, searched: Sequence[str]) -> list[Block]:
    text = f"Of the {counted(finished, 'trial')} trained to the end alone."
    if finished < FEW:
        text += " So few say little: take what follows as a hint."
    if len(searched) > SHOWN:
        text += f" Slices show the {SHOWN} most important settings."
    return [Paragraph(text)]


def _importance(facts: RunFacts, values: dict[str, float]) -> Chart:
    drawn = visualization.plot_param_importances(
        facts.study, params=list(values), target_name=TARGET
    )
    plain = _plain(drawn)
    for bars in plain["data"]:
        bars["marker"] = {"color": BLUE}
        bars |= {"textposition": "auto", "textangle": 0}
        bars.pop("name", None)
    plain["layout"]["xaxis"]["title"] = {"text": "importance"}
    plain["layout"]["yaxis"].pop("title", None)
    first = [f"{key} ({value:.0%})" for key, value in values.items()]
    summary = (
        f"By PED-ANOVA, how much each setting decides whether a trial is among the best: "
        f"{listed(first, 4)}."
    )
    height = 130 + 34 * len(values)
    return Chart("importance", "Importance of settings", summary, plain, height_px=height)


def _slices(facts: RunFacts, shown: Sequence[str]) -> Chart:
    plain = _plain(visualization.plot_slice(facts.study, params=list(shown), target_name=TARGET))
    for dots in plain["data"]:
        dots["marker"] |= {"colorscale": _colorscale(), "line": {"width": 0}, "size": 6}
        dots["marker"].get("colorbar", {}).pop("xpad", None)
    axes = [value for key, value in plain["layout"].items() if key.startswith("xaxis")]
    for place, ax in enumerate(axes):
        if any(isinstance(x, str) for x in _values(plain["data"][place].get("x"))):
            ax["tickangle"] = -90
    summary = f"The H-mean of each trial by {listed(shown, SHOWN)}; colour is the trial's number."
    width = 90 + _SLICE_PX * len(shown)
    return Chart("slices", "H-mean by setting", summary, plain, min_width_px=width)


def _values(x: Any) -> Sequence[Any]:
    """The values of an axis; plotly writes arrays of numbers as bytes."""
    return x if isinstance(x, list) else ()


def _colorscale() -> list[list[Any]]:
    return [[i / (len(SCALE) - 1), colour] for i, colour in enumerate(SCALE)]


def _plain(drawn: Any) -> dict[str, Any]:
    """A figure of plotly's as its JSON object, without its theme and its title."""
    plain: dict[str, Any] = json.loads(drawn.to_json())
    for key in ("template", "title", "width", "height"):
        plain["layout"].pop(key, None)
    return plain


@dataclass(frozen=True)
class Curve:
    """The H-mean at each `box_thresh`, rising, of a trial's best epoch."""

    trial: str
    box_thresh: tuple[float, ...]
    hmean: tuple[float, ...]

    @property
    def best(self) -> int:
        """The index of the highest H-mean, the first of equal ones."""
        return max(range(len(self.hmean)), key=lambda i: self.hmean[i])

    def safe(self) -> tuple[float, float]:
        """The lowest and highest `box_thresh` around the best one that lose SLACK at most."""
        floor = self.hmean[self.best] - SLACK
        low = high = self.best
        while low > 0 and self.hmean[low - 1] >= floor:
            low -= 1
        while high + 1 < len(self.hmean) and self.hmean[high + 1] >= floor:
            high += 1
        return self.box_thresh[low], self.box_thresh[high]


def by_box_thresh(facts: RunFacts) -> Section:
    """The curves of the best trials that have one."""
    curves = [c for c in (read(facts, r) for r in facts.leaders[:LEADERS]) if c is not None]
    if not curves:
        text = (
            "No curve was kept: a training writes one with the best epoch when it sweeps several "
            "values of box_thresh (train.sweep, sweep.box_thresh)."
        )
        return Section("box-thresh", BOX_THRESH_TITLE, [Paragraph(text)])
    data = [
        lines(
            c.box_thresh,
            c.hmean,
            mode="lines+markers",
            name=f"trial {c.trial}",
            line={"color": colour, "width": 2},
            hovertemplate="box_thresh %{x:.2f}<br>H-mean %{y:.4f}",
        )
        for c, colour in zip(curves, SERIES, strict=False)
    ]
    first = curves[0]
    low, high = first.safe()
    summary = (
        f"{counted(len(curves), 'leader')}, each at its best epoch with its other post-processing "
        f"settings at their best, scored on the pages they were chosen on. Trial {first.trial} is "
        f"best at {first.box_thresh[first.best]:g} with {score(first.hmean[first.best])}, and "
        f"loses {SLACK:g} at most from {low:g} to {high:g}."
    )
    chart = Chart(
        "box-thresh-chart", BOX_THRESH_TITLE, summary, figure(data, "box_thresh", "H-mean")
    )
    return Section("box-thresh", BOX_THRESH_TITLE, [chart])


def read(facts: RunFacts, record: TrialRecord) -> Curve | None:
    """The curve that a trial's training kept; None without one of its best epoch."""
    path = facts.folder_of(record) / BOX_THRESH
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        curve = Curve(
            record.trial,
            tuple(float(v) for v in content["box_thresh"]),
            tuple(float(v) for v in content["hmean"]),
        )
        fits = content["epoch"] == record.best_epoch
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = len(curve.box_thresh) == len(curve.hmean) > 1
    return curve if fits and whole else None
