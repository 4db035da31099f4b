"""The Pareto front: what more H-mean costs in size, or in whatever the run looked for."""

from __future__ import annotations

from typing import Any

from orchestrator.report_page.blocks import Block, Cell, Chart, Paragraph, Section, Table
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.figures import GREY, ORANGE, figure, points
from orchestrator.report_page.wording import counted, listed, score
from orchestrator.trials.pareto import OBJECTIVES, front, value_of
from orchestrator.trials.records import TrialRecord, TrialState


def section(facts: RunFacts) -> Section:
    """A chart of the H-mean against each other objective, and the trials on the front."""
    objectives = facts.config.search.trade_off()
    figures = [name for name, _ in objectives]
    title = f"Pareto front of {listed([OBJECTIVES[name].title for name in figures])}"
    finished = facts.of(TrialState.FINISHED)
    kept = [r for r in finished if all(value_of(r, name) is not None for name in figures)]
    if not kept:
        text = "No trial that was trained to the end has all of these figures."
        return Section("pareto", title, [Paragraph(text)])
    best = front(kept, objectives)
    others = [name for name in figures if name != "hmean"]
    blocks: list[Block] = []
    if len(kept) > 1:  # one point is no chart
        blocks += [_chart(kept, best, name) for name in others]
    return Section("pareto", title, [*blocks, _table(best, figures)])


def _chart(kept: list[TrialRecord], best: list[TrialRecord], other: str) -> Chart:
    title = f"H-mean and {OBJECTIVES[other].title}"
    rest = [r for r in kept if r not in best]
    data = [
        _points(rest, other, "behind the front", {"color": GREY, "size": 7}),
        _points(
            sorted(best, key=lambda r: value_of(r, other) or 0.0),
            other,
            "on the front",
            {"color": ORANGE, "size": 10},
        )
        | {"mode": "lines+markers", "line": {"color": ORANGE, "width": 1, "dash": "dot"}},
    ]
    summary = (
        f"{counted(len(best), 'trial')} of {len(kept)} {'is' if len(best) == 1 else 'are'} on the "
        f"front: {listed([r.trial for r in best])}. No other one is as good in everything and "
        "better in something."
    )
    drawn = figure([d for d in data if d["x"]], OBJECTIVES[other].title, "H-mean")
    return Chart(f"pareto-{other.replace('_', '-')}", title, summary, drawn)


def _points(
    records: list[TrialRecord], other: str, name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    return points(
        [value_of(r, other) for r in records],
        [r.hmean for r in records],
        name=name,
        marker=marker,
        text=[f"trial {r.trial}" for r in records],
        hovertemplate="%{text}<br>%{x:.4g}, H-mean %{y:.4f}<extra></extra>",
    )


def _table(best: list[TrialRecord], figures: list[str]) -> Table:
    return Table(
        caption="Trials on the front, by H-mean",
        headers=["trial", *(OBJECTIVES[name].title for name in figures)],
        rows=[[Cell(r.trial), *(_cell(r, name) for name in figures)] for r in best],
        numeric=frozenset(range(1, len(figures) + 1)),
    )


def _cell(record: TrialRecord, name: str) -> Cell:
    value = value_of(record, name)
    return Cell(score(value) if name.endswith("hmean") else f"{value:.4g}", value)
