"""What the searched settings do: Optuna's importances and slices, and parallel coordinates.

All of them look at trials that were trained to the end alone, so epochs are not mixed.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna import visualization

from orchestrator.report_page.blocks import Block, Chart, Paragraph, Section
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.figures import BLUE, SCALE
from orchestrator.report_page.parallel import axes_of, coordinates
from orchestrator.report_page.wording import counted, listed
from orchestrator.trials.records import TrialState

TARGET = "H-mean"
FEW = 20  # finished trials below which importances are a hint at most
SHOWN = 8  # settings in slices and parallel coordinates, the most important ones
_SLICE_PX, _AXIS_PX = 210, 120


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
    return [_importance(facts, values), _slices(facts, shown), _parallel(facts, shown)]


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
        text += f" Slices and coordinates show the {SHOWN} most important settings."
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


def _parallel(facts: RunFacts, shown: Sequence[str]) -> Chart:
    axes = axes_of(facts.of(TrialState.FINISHED), facts.space.parameters, shown)
    summary = (
        f"A line for each trial through its H-mean (left), {listed(shown, SHOWN)}. "
        "Orange lines are the best fifth."
    )
    width = 40 + _AXIS_PX * len(axes)
    title = "Parallel coordinates"
    return Chart("parallel", title, summary, coordinates(axes), 460, min_width_px=width)


def _colorscale() -> list[list[Any]]:
    return [[i / (len(SCALE) - 1), colour] for i, colour in enumerate(SCALE)]


def _plain(drawn: Any) -> dict[str, Any]:
    """A figure of plotly's as its JSON object, without its theme and its title."""
    plain: dict[str, Any] = json.loads(drawn.to_json())
    for key in ("template", "title", "width", "height"):
        plain["layout"].pop(key, None)
    return plain
