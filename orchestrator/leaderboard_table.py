"""The leaderboard for a terminal: the columns that fit, the most useful ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from orchestrator.ranking import rows
from orchestrator.records import TrialRecord, TrialState

STYLES = {
    TrialState.FINISHED.value: "green",
    TrialState.STOPPED.value: "yellow",
    TrialState.RUNNING.value: "cyan",
    TrialState.PENDING.value: "dim",
    TrialState.FAILED.value: "red",
}
REASON_LENGTH = 160
_PADDING = 2  # a blank after each cell, and the rule between columns


class _Column(NamedTuple):
    header: str  # may have several lines
    cells: list[str]
    keep: int  # smaller is kept longer
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        lines = [*self.header.splitlines(), *self.cells]
        return max(cell_len(line) for line in lines) + _PADDING


def table(
    records: Sequence[TrialRecord],
    parameters: Sequence[str] = (),
    *,
    width: int = 110,
    title: str | None = None,
) -> Table:
    """The leaderboard for a terminal of `width` columns.

    Beside the scores it shows the parameters that differ between trials. Columns that do not
    fit are named in the caption, as are the reasons of failed trials.
    """
    shown = rows(records, parameters)
    columns = [*_score_columns(shown), *_parameter_columns(shown, parameters)]
    kept, left_out = _fitting(columns, width)
    out = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left")
    for column in kept:
        out.add_column(Text(column.header), justify=column.justify, no_wrap=True)
    for index, row in enumerate(shown):
        cells = [Text(column.cells[index]) for column in kept]
        out.add_row(*cells, style=STYLES[row["state"]])
    out.caption = _caption(shown, left_out)
    return out


def duration(seconds: float) -> str:
    """`45s`, `3m 20s` or `2h 05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole // 60 % 60:02d}m"


def _score_columns(shown: Sequence[dict[str, Any]]) -> list[_Column]:
    def cells(key: str, form: str = "{}") -> list[str]:
        return ["" if row[key] is None else form.format(row[key]) for row in shown]

    spans = [
        "" if row["hmean_low"] is None else f"{row['hmean_low']:.3f}-{row['hmean_high']:.3f}"
        for row in shown
    ]
    return [
        _Column("#", cells("rank"), 1),
        _Column("trial", cells("trial"), 0, "left"),
        _Column("state", cells("state"), 0, "left"),
        _Column("H-mean", cells("hmean", "{:.4f}"), 0),
        _Column("95 % interval", spans, 9),
        _Column("tuned", cells("tuned_hmean", "{:.4f}"), 6),
        _Column("IoU-H", cells("iou_hmean", "{:.4f}"), 3),
        _Column("P", cells("precision", "{:.3f}"), 8),
        _Column("R", cells("recall", "{:.3f}"), 8),
        _Column("epochs", cells("epochs"), 2),
        _Column("time", [duration(row["seconds"]) for row in shown], 4),
    ]


def _parameter_columns(shown: Sequence[dict[str, Any]], parameters: Sequence[str]) -> list[_Column]:
    """The parameters that differ (all of a single trial), headed by their last name."""
    differing = [
        key for key in parameters if len(shown) < 2 or len({repr(r[key]) for r in shown}) > 1
    ]
    last = [key.rpartition(".")[2] for key in differing]
    columns = []
    for key, name in zip(differing, last, strict=True):
        header = (name if last.count(name) == 1 else key).replace("_", "\n").replace(".", "\n")
        cells = [_value(row[key]) for row in shown]
        text = any(isinstance(row[key], str) for row in shown)
        columns.append(_Column(header, cells, 5, "left" if text else "right"))
    return columns


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _fitting(columns: Sequence[_Column], width: int) -> tuple[list[_Column], list[_Column]]:
    """The columns that fit, in their order, and those that do not."""
    chosen: set[int] = set()
    used = 2  # the edges
    for index in sorted(range(len(columns)), key=lambda i: (columns[i].keep, i)):
        column = columns[index]
        if column.keep == 0 or used + column.width <= width:
            chosen.add(index)
            used += column.width
    kept = [c for i, c in enumerate(columns) if i in chosen]
    return kept, [c for i, c in enumerate(columns) if i not in chosen]


def _caption(shown: Sequence[dict[str, Any]], left_out: Sequence[_Column]) -> Text | None:
    lines = []
    for row in shown:
        if row["reason"]:
            first = str(row["reason"]).strip().partition("\n")[0]
            lines.append(f"{row['trial']} {row['state']}: {first[:REASON_LENGTH]}")
    if left_out:
        names = ", ".join(c.header.replace("\n", "_") for c in left_out)
        lines.append(f"not shown: {names} (leaderboard.csv has every column)")
    return Text("\n".join(lines)) if lines else None
