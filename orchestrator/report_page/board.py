"""The trials beside each other: a leaderboard to sort and filter, and the Pareto front.

And the best of them beside other detectors, where that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from orchestrator.peers.beside import Beside, Figures, read_beside
from orchestrator.report_page.blocks import (
    Block,
    Cell,
    Chart,
    Paragraph,
    Section,
    Table,
    counted,
    listed,
    plain,
    score,
)
from orchestrator.report_page.facts import RunFacts
from orchestrator.report_page.figures import GREY, ORANGE, figure, points
from orchestrator.results.ranking import LAST_COLUMNS, last_columns
from orchestrator.trials.duration import duration
from orchestrator.trials.pareto import OBJECTIVES, front, value_of
from orchestrator.trials.records import TrialRecord, TrialState

Row = dict[str, Any]


class _Column(NamedTuple):
    header: str
    cell: Callable[[Row], Cell]
    numeric: bool = True


def leaderboard(facts: RunFacts) -> Section:
    """Every trial, best first."""
    if not facts.rows:
        return Section("leaderboard", "Leaderboard", [Paragraph("No trial has started yet.")])
    columns = [
        *_columns(),
        *_objectives(facts),
        *_parameters(facts),
        _Column("reason", _text("reason"), False),
    ]
    kept = [c for c in columns if any(c.cell(row).text for row in facts.rows)]
    top = facts.best
    marks = {i for i, row in enumerate(facts.rows) if top and row["trial"] == top.trial}
    table = Table(
        caption="All trials, best first",
        headers=[c.header for c in kept],
        rows=[[c.cell(row) for c in kept] for row in facts.rows],
        numeric=frozenset(i for i, c in enumerate(kept) if c.numeric),
        marks=frozenset(marks),
        states=[row["state"] for row in facts.rows],
        sortable=True,
    )
    return Section("leaderboard", "Leaderboard", [Paragraph(_note(facts)), table])


def beside(facts: RunFacts) -> list[Section]:
    """The trial to ship beside other detectors, where it was scored beside any."""
    every = read_beside(facts.folder)
    shown = [one for one in every if facts.best and one.trial == facts.best.trial]
    if not every:
        return []
    blocks: list[Block] = [Paragraph(one.sentence, strong=True) for one in shown]
    if shown:
        blocks.append(_beside_table(shown))
    if left := [one.other for one in every if one not in shown]:
        blocks.append(
            Paragraph(
                f"{listed(left)} stood beside another trial, which is not the best any more: "
                "python -m orchestrator.beside compares it with this one."
            )
        )
    return [Section("beside", "Beside other detectors", blocks)]


def _beside_table(shown: Sequence[Beside]) -> Table:
    """The figures of the trial, then those of each other detector."""
    trial, own = shown[0].trial, shown[0].own
    figures = [(f"trial {trial}", own, ""), *((s.other, s.others, _ahead(s)) for s in shown)]
    return Table(
        caption="At its own settings, and with post-processing chosen for these pages",
        headers=[
            "detector",
            *("H-mean as it is", "IoU H-mean as it is"),
            *("H-mean, chosen alike", "IoU H-mean, chosen alike"),
            "the trial is ahead by",
        ],
        rows=[[Cell(name), *_beside_cells(its), Cell(by)] for name, its, by in figures],
        numeric=frozenset({1, 2, 3, 4, 5}),
        marks=frozenset({0}),
    )


def _beside_cells(its: Figures) -> list[Cell]:
    return [
        Cell(score(value), value)
        for value in (its.hmean, its.iou_hmean, its.chosen_hmean, its.chosen_iou_hmean)
    ]


def _ahead(one: Beside) -> str:
    return f"{one.ahead:+.4f} ({one.low:+.4f} to {one.high:+.4f})"


def _note(facts: RunFacts) -> str:
    text = (
        "H-mean is CLEval's, competition dialect, the mean over validation pages. The interval is "
        "a 95 % bootstrap over pages. Only trials trained to the end have a rank. “Tied” says that "
        "a trial cannot be told from the first one, “Pareto” that no other is better in everything."
    )
    if any(row["confirmed_seeds"] for row in facts.rows):
        text += (
            " “Expected” is what another seed is to give: the mean of a trial's scores, drawn to "
            "the middle of the run by the share that is luck. It ranks the trials."
        )
    return text


def _columns() -> list[_Column]:
    return [
        _Column("rank", _number("rank", "{}")),
        _Column("trial", _text("trial"), False),
        _Column("state", _state, False),
        _Column("H-mean", _number("hmean", "{:.4f}")),
        _Column("95 % interval", _interval),
        _Column("tied", _tied, False),
        _Column("new seeds", _confirmed),
        _Column("expected", _number("expected_hmean", "{:.4f}")),
        _Column("tuned H-mean", _number("tuned_hmean", "{:.4f}")),
        _Column("precision", _number("precision", "{:.4f}")),
        _Column("recall", _number("recall", "{:.4f}")),
        _Column("IoU H-mean", _number("iou_hmean", "{:.4f}")),
        _Column("epochs", _number("epochs", "{}")),
        _Column("time", _time),
        _Column("M weights", _number("params_m", "{:.2f}")),
        _Column("ms a page", _number("latency_ms", "{:.0f}")),
        _Column("Pareto", _flag("pareto", "front"), False),
    ]


def _objectives(facts: RunFacts) -> list[_Column]:
    """Those of this search that no other column shows."""
    shown = last_columns(facts.config.search.trade_off())[len(LAST_COLUMNS) :]
    return [_Column(OBJECTIVES[name].title, _number(name, "{:.4f}")) for name in shown]


def _parameters(facts: RunFacts) -> list[_Column]:
    """The searched settings; a column is sorted by number where all its values are numbers."""
    columns = []
    for key in facts.space.parameters:
        values = [row[key] for row in facts.rows if row[key] is not None]
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        columns.append(_Column(key, _setting(key, numeric=numeric), numeric))
    return columns


def _setting(key: str, *, numeric: bool) -> Callable[[Row], Cell]:
    return lambda row: Cell(plain(row[key]), row[key] if numeric else None)


def _number(key: str, form: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row[key]
        return Cell("") if value is None else Cell(form.format(value), value)

    return cell


def _text(key: str) -> Callable[[Row], Cell]:
    return lambda row: Cell("" if row[key] is None else str(row[key]))


def _flag(key: str, word: str) -> Callable[[Row], Cell]:
    return lambda row: Cell(word if row[key] else "")


def _tied(row: Row) -> Cell:
    return Cell("tied" if row["tied"] and row["rank"] > 1 else "")


def _state(row: Row) -> Cell:
    return Cell(row["state"], state=row["state"])


def _time(row: Row) -> Cell:
    return Cell(duration(row["seconds"]), row["seconds"])


def _interval(row: Row) -> Cell:
    if row["hmean_low"] is None:
        return Cell("")
    return Cell(f"{row['hmean_low']:.3f}-{row['hmean_high']:.3f}", row["hmean_low"])


def _confirmed(row: Row) -> Cell:
    mean, sd = row["confirmed_hmean"], row["confirmed_sd"]
    if mean is None:
        return Cell("")
    return Cell(f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}", mean)


def pareto(facts: RunFacts) -> Section:
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
        blocks += [_front_chart(kept, best, name) for name in others]
    return Section("pareto", title, [*blocks, _front_table(best, figures)])


def _front_chart(kept: list[TrialRecord], best: list[TrialRecord], other: str) -> Chart:
    title = f"H-mean and {OBJECTIVES[other].title}"
    rest = [r for r in kept if r not in best]
    data = [
        _front_points(rest, other, "behind the front", {"color": GREY, "size": 7}),
        _front_points(
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


def _front_points(
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


def _front_table(best: list[TrialRecord], figures: list[str]) -> Table:
    return Table(
        caption="Trials on the front, by H-mean",
        headers=["trial", *(OBJECTIVES[name].title for name in figures)],
        rows=[[Cell(r.trial), *(_objective(r, name) for name in figures)] for r in best],
        numeric=frozenset(range(1, len(figures) + 1)),
    )


def _objective(record: TrialRecord, name: str) -> Cell:
    value = value_of(record, name)
    return Cell(score(value) if name.endswith("hmean") else f"{value:.4g}", value)
