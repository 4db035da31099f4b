"""How the search got there: the best H-mean over trials, and every trial's learning curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from orchestrator.page_parts.folds import read_folds
from orchestrator.page_parts.kept import read_curve
from orchestrator.report_page.blocks import (
    Cell,
    Chart,
    Facts,
    Paragraph,
    Section,
    Table,
    counted,
    score,
)
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.figures import (
    BLUE,
    GREY,
    ORANGE,
    SERIES,
    below,
    figure,
    frame,
    lines,
    points,
    whole_numbers,
)
from orchestrator.run.as_records import trial_id
from orchestrator.trials.duration import duration
from orchestrator.trials.records import TrialRecord, TrialState

LEADERS = 5  # curves with a colour of their own
FEW = 40  # points to mark one by one


def outlook(facts: RunFacts) -> list[Section]:
    """How long a running search still takes, and what it is expected to bring; else nothing."""
    known = None if facts.over else facts.run.study.forecast
    if known is None:
        return []
    made = datetime.fromisoformat(known["when"])
    end = made + timedelta(seconds=known["seconds"])
    times = f"{duration(known['low'])} to {duration(known['high'])}"
    pairs = [
        ("over", f"about {end:%Y-%m-%d %H:%M}"),
        ("left then", f"{duration(known['seconds'])}, in four of five cases {times}"),
        ("the next hour", "" if known["gain"] is None else f"H-mean {known['gain']:+.4f} expected"),
        ("as of", f"{made:%Y-%m-%d %H:%M}"),
    ]
    shown = Facts([(name, value) for name, value in pairs if value])
    return [Section("outlook", "What is to come", [shown])]


def history(facts: RunFacts) -> Section:
    """The best H-mean after each trial that ended."""
    ended = in_order_of_end(facts)
    finished = [(i, r) for i, r in ended if r.state is TrialState.FINISHED]
    others = [(i, r) for i, r in ended if r.state is not TrialState.FINISHED]
    title = "Best H-mean over trials"
    if not finished:
        text = "No trial was trained to the end yet, so there is no history to draw."
        return Section("history", title, [Paragraph(text)])
    places = [i for i, _ in finished]
    running = list(accumulate((r.hmean or 0.0 for _, r in finished), max))
    leader = next(r for _, r in finished if r.hmean == running[-1])
    at = next(i for i, r in finished if r is leader)
    data = [
        _trials(others, "ended early", GREY, "circle-open"),
        _trials(finished, "trained to the end", BLUE, "circle"),
        lines(
            [*places, ended[-1][0]],
            [*running, running[-1]],
            name="best so far",
            line={"color": ORANGE, "width": 2, "shape": "hv"},
            hoverinfo="skip",
        ),
    ]
    summary = (
        f"{counted(len(finished), 'trial')} trained to the end. The best H-mean, "
        f"{score(running[-1])}, came with trial {leader.trial}, the {_ordinal(at)} to end; "
        f"{counted(ended[-1][0] - at, 'trial')} ended after it without a better one."
    )
    scores = [r.hmean or 0.0 for _, r in ended]
    limits = frame((r.hmean or 0.0 for _, r in finished), scores, spreads=2)
    drawn = figure(
        [d for d in data if d["x"]],
        "trials in the order in which they ended",
        "H-mean",
        xaxis=whole_numbers(ended[-1][0]),
        yaxis={"range": limits} if limits else {},
    )
    summary += _left_out(below(scores, limits), "trial")
    return Section("history", title, [Chart("history-chart", title, summary, drawn)])


def in_order_of_end(facts: RunFacts) -> list[tuple[int, TrialRecord]]:
    """The trials that are over and have a score, counted from 1 in the order of their end."""
    by_name = {record.trial: record for record in facts.records}
    over = [t for t in facts.trials if t.state.is_finished() and t.datetime_complete is not None]
    over.sort(key=lambda t: (t.datetime_complete, t.number))
    records = (by_name[trial_id(t.number)] for t in over)
    return [(i, r) for i, r in enumerate(records, 1) if r.hmean is not None]


def _trials(
    some: Sequence[tuple[int, TrialRecord]], name: str, colour: str, symbol: str
) -> dict[str, Any]:
    return points(
        [i for i, _ in some],
        [r.hmean for _, r in some],
        name=name,
        marker={"color": colour, "symbol": symbol, "size": 7 if len(some) <= FEW else 5},
        text=[f"trial {r.trial}" for _, r in some],
        hovertemplate="%{text}<br>H-mean %{y:.4f}<extra></extra>",
    )


def learning(facts: RunFacts) -> Section:
    """The best H-mean so far by epoch, of all trials."""
    title = "Learning curves"
    curves = {
        trial_id(t.number): sorted(t.intermediate_values.items())
        for t in facts.trials
        if t.intermediate_values
    }
    if not curves:
        return Section("learning", title, [Paragraph("No trial has reported an epoch yet.")])
    leaders = [r for r in facts.leaders if r.trial in curves][:LEADERS]
    named = {r.trial for r in leaders}
    groups = [
        ("trained to the end", BLUE, [TrialState.FINISHED]),
        ("stopped or paused", GREY, [TrialState.STOPPED, TrialState.PAUSED]),
        (
            "running or failed",
            "#b58900",
            [TrialState.RUNNING, TrialState.PENDING, TrialState.FAILED],
        ),
    ]
    data = []
    for name, colour, states in groups:
        trials = [
            r.trial
            for r in facts.records
            if r.state in states and r.trial in curves and r.trial not in named
        ]
        if trials:
            data.append(_bundle(trials, curves, name, colour))
    for record, colour in reversed(list(zip(leaders, SERIES, strict=False))):
        epochs, values = zip(*curves[record.trial], strict=True)
        data.append(
            lines(
                epochs,
                values,
                mode="lines+markers",
                name=f"trial {record.trial}",
                line={"color": colour, "width": 2.5},
                marker={"size": 5},
                hovertemplate="epoch %{x}<br>H-mean %{y:.4f}",
            )
        )
    last = {trial: curve[-1][1] for trial, curve in curves.items()}
    every = [value for curve in curves.values() for _, value in curve]
    finished = [last[r.trial] for r in facts.of(TrialState.FINISHED) if r.trial in last]
    limits = frame(finished, every, spreads=8)
    hidden = below(last.values(), limits)
    axis = {"range": limits} if limits else {}
    longest = max(epoch for curve in curves.values() for epoch, _ in curve)
    drawn = figure(data, "epoch", "best H-mean so far", xaxis=whole_numbers(longest), yaxis=axis)
    summary = _learnt(facts, curves) + _left_out(hidden, "whole curve")
    return Section("learning", title, [Chart("learning-curves", title, summary, drawn)])


def by_pages(facts: RunFacts) -> list[Section]:
    """The score by number of training pages, where that was tried."""
    curve = read_curve(facts.folder)
    if curve is None:
        return []
    title, then = "More training pages", curve.twice
    data = [
        lines(
            [point.pages for point in curve.points],
            [point.hmean for point in curve.points],
            mode="lines+markers",
            name="trained on",
            line={"color": BLUE, "width": 2},
            marker={"size": 8},
            hovertemplate="%{x} pages<br>H-mean %{y:.4f}<extra></extra>",
        ),
        points(
            [then.pages],
            [then.hmean],
            name="expected",
            marker={"color": ORANGE, "symbol": "diamond", "size": 10},
            error_y={
                "array": [then.hmean_high - then.hmean],
                "arrayminus": [then.hmean - then.hmean_low],
            },
            hovertemplate="%{x} pages<br>H-mean %{y:.4f} expected<extra></extra>",
        ),
    ]
    counts = [*(point.pages for point in curve.points), then.pages]
    axis = {"type": "log", "tickvals": counts, "ticktext": [str(count) for count in counts]}
    drawn = figure(data, "training pages", "H-mean (cross-fitted)", xaxis=axis)
    summary = (
        f"{curve.sentence} Trained with the settings of trial {curve.trial} on parts of the pages, "
        f"scored on {counted(curve.validation_pages, 'validation page')}. The bar is where one "
        "such training would score on other pages, in 95 of 100 cases."
    )
    return [Section("more-pages", title, [Chart("pages-chart", title, summary, drawn)])]


def by_folds(facts: RunFacts) -> list[Section]:
    """What the settings score on each part of the pages without it, where that was tried."""
    scores = read_folds(facts.folder)
    if scores is None:
        return []
    rows = [
        [Cell(t) for t in (part.name, str(part.pages), score(part.hmean), score(part.iou_hmean))]
        for part in scores.parts
    ]
    caption = "Each part of the training pages, scored by a training on the others"
    headers = ["left out", "pages", "H-mean", "IoU H-mean"]
    table = Table(caption, headers, rows, numeric=frozenset({1, 2, 3}))
    return [Section("folds", "Every page in turn", [Paragraph(scores.sentence), table])]


def _left_out(count: int, noun: str) -> str:
    if not count:
        return ""
    lies = "lies" if count == 1 else "lie"
    return f" {counted(count, noun)} {lies} below the frame; a double click shows all."


def _bundle(
    trials: Iterable[str], curves: dict[str, list[tuple[int, float]]], name: str, colour: str
) -> dict[str, Any]:
    """Many trials as one line with gaps, which is drawn much faster than many lines."""
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        epochs, values = zip(*curves[trial], strict=True)
        x += [*epochs, None]
        y += [*values, None]
        text += [trial] * (len(epochs) + 1)
    return lines(
        x,
        y,
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 1},
        marker={"size": 3},
        opacity=0.45,
        text=text,
        hovertemplate="trial %{text}, epoch %{x}<br>H-mean %{y:.4f}<extra></extra>",
    )


def _learnt(facts: RunFacts, curves: dict[str, list[tuple[int, float]]]) -> str:
    """Where the curves are, and whether the best one was still rising."""
    text = (
        f"{counted(len(curves), 'trial')}, of up to {counted(facts.space.budget.epochs, 'epoch')}."
    )
    top = facts.best
    if top is None or top.trial not in curves or top.best_epoch is None:
        return text
    text += f" Trial {top.trial} has its best H-mean in epoch {top.best_epoch} of {top.epochs}"
    if top.best_epoch >= top.epochs:
        return text + ": it was still rising, and a longer training may give more."
    return text + ", and did not get better after that."


def _ordinal(number: int) -> str:
    tens, ones = divmod(number % 100, 10)
    ending = "th" if tens == 1 else {1: "st", 2: "nd", 3: "rd"}.get(ones, "th")
    return f"{number}{ending}"
