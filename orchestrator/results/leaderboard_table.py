"""The leaderboard for a terminal: the columns that fit, the most useful ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.core.escape import printable, printable_lines
from orchestrator.results.ranking import rows, scored_pages
from orchestrator.trials.duration import duration
from orchestrator.trials.records import TrialRecord, TrialState

STYLES = {
    TrialState.FINISHED.value: "green",
    TrialState.STOPPED.value: "yellow",
    TrialState.RUNNING.value: "cyan",
    TrialState.PAUSED.value: "blue",
    TrialState.PENDING.value: "dim",
    TrialState.FAILED.value: "red",
}
RANK = "#"
CONFIRMED = "new seeds"
CONFIRMED_NOTE = (
    "new seeds: mean ± standard deviation of the H-mean of trainings with other seeds; expected: "
    "what another seed is to give by all of these scores, which ranks the trials"
)
REASON_LENGTH = 160
FEWEST = 3  # trials shown, however small the screen
REASONS, NAMED = 2, 3  # reasons in a table cut short; trials named that share one
CSV = "leaderboard.csv"
_PADDING = 2  # a blank after each cell, and the rule between columns


class Column(NamedTuple):
    """A column of a table of trials: its text, cell by cell."""

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
    most: int | None = None,
) -> Table:
    """The leaderboard for a terminal of `width` columns, or its first `most` trials.

    Beside the scores it shows the parameters that differ between trials. A "=" marks the ranks
    that are tied with the first (`comparison.ties`). Columns that do not fit are named in the
    caption, as are the reasons of failed trials, each told once. Trials that were trained again
    with new seeds show the mean and the standard deviation over these, and then all show what is
    expected of another seed.
    """
    every = rows(records, parameters)
    shown = every if most is None else every[:most]
    columns = [*_score_columns(shown), *_parameter_columns(shown, parameters)]
    kept, left_out = fitting(columns, width)
    headers = [column.header for column in kept]
    notes = _tie_note(records, shown) if RANK in headers else []
    notes += [CONFIRMED_NOTE] if CONFIRMED in headers else []
    more = len(every) - len(shown)
    notes += [f"{more} more in {CSV}"] if more else []
    notes += _reasons(every, most=None if most is None else REASONS)
    if left_out:
        names = ", ".join(column.header.replace("\n", "_") for column in left_out)
        notes.append(f"not shown: {names} ({CSV} has every column)")
    out = drawn(kept, [row["state"] for row in shown], box.SIMPLE_HEAD)
    out.caption = Text(printable_lines("\n".join(notes))) if notes else None
    return out


def drawn(columns: Sequence[Column], states: Sequence[str], frame: box.Box | None) -> Table:
    """The columns as a table, with a colour for each trial's state."""
    out = Table(box=frame, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
    for column in columns:
        out.add_column(Text(column.header), justify=column.justify, no_wrap=True)
    for index, state in enumerate(states):
        cells = [Text(printable(column.cells[index])) for column in columns]
        out.add_row(*cells, style=STYLES[state])
    return out


def fitting_table(
    records: Sequence[TrialRecord], parameters: Sequence[str], console: Console, *, below: int
) -> Table:
    """The leaderboard with as many trials as leave `below` lines of the screen; three at least."""

    def lines(most: int) -> int:
        shown = table(records, parameters, width=console.width, most=most)
        return len(console.render_lines(shown, pad=False))

    most = FEWEST + max(0, console.height - below - lines(FEWEST))
    while most > FEWEST and lines(most) > console.height - below:  # notes may have grown too
        most -= 1
    return table(records, parameters, width=console.width, most=most)


def _score_columns(shown: Sequence[dict[str, Any]]) -> list[Column]:
    def cells(key: str, form: str = "{}") -> list[str]:
        return ["" if row[key] is None else form.format(row[key]) for row in shown]

    spans = [
        "" if row["hmean_low"] is None else f"{row['hmean_low']:.3f}-{row['hmean_high']:.3f}"
        for row in shown
    ]
    confirmed = [_confirmed(row) for row in shown]
    expected = Column("expected", cells("expected_hmean", "{:.4f}"), 1)
    again = [Column(CONFIRMED, confirmed, 1), expected]
    return [
        Column(RANK, _ranks(shown), 1, "left"),
        Column("trial", cells("trial"), 0, "left"),
        Column("state", cells("state"), 0, "left"),
        *(again if any(confirmed) else []),
        Column("H-mean", cells("hmean", "{:.4f}"), 0),
        Column("95 % interval", spans, 9),
        Column("tuned", cells("tuned_hmean", "{:.4f}"), 6),
        Column("IoU-H", cells("iou_hmean", "{:.4f}"), 3),
        Column("P", cells("precision", "{:.3f}"), 8),
        Column("R", cells("recall", "{:.3f}"), 8),
        Column("epochs", cells("epochs"), 2),
        Column("time", [duration(row["seconds"]) for row in shown], 4),
    ]


def _confirmed(row: dict[str, Any]) -> str:
    mean, sd = row["confirmed_hmean"], row["confirmed_sd"]
    if mean is None:
        return ""
    return f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}"


def _ranks(shown: Sequence[dict[str, Any]]) -> list[str]:
    """Ranks under each other, with a "=" behind those tied with the first."""
    digits = len(str(len(shown)))
    return ["" if row["rank"] is None else f"{row['rank']:{digits}}{_mark(row)}" for row in shown]


def _mark(row: dict[str, Any]) -> str:
    return " =" if row["tied"] and row["rank"] > 1 else ""


def _parameter_columns(shown: Sequence[dict[str, Any]], parameters: Sequence[str]) -> list[Column]:
    """The parameters that differ (all of a single trial), headed by their last name."""
    differing = [
        key for key in parameters if len(shown) < 2 or len({repr(r[key]) for r in shown}) > 1
    ]
    last = [key.rpartition(".")[2] for key in differing]
    columns = []
    for key, name in zip(differing, last, strict=True):
        header = (name if last.count(name) == 1 else key).replace("_", "\n").replace(".", "\n")
        cells = [short(row[key]) for row in shown]
        text = any(isinstance(row[key], str) for row in shown)
        columns.append(Column(header, cells, 5, "left" if text else "right"))
    return columns


def short(value: Any) -> str:
    """A setting in a cell; real numbers to three digits."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit, in their order, and those that do not."""
    chosen: set[int] = set()
    used = 0
    for index in sorted(range(len(columns)), key=lambda i: (columns[i].keep, i)):
        column = columns[index]
        if column.keep == 0 or used + column.width <= width:
            chosen.add(index)
            used += column.width
    kept = [c for i, c in enumerate(columns) if i in chosen]
    return kept, [c for i, c in enumerate(columns) if i not in chosen]


def _tie_note(records: Sequence[TrialRecord], shown: Sequence[dict[str, Any]]) -> list[str]:
    """What "=" means, where it stands."""
    if not any(map(_mark, shown)):
        return []
    first = next(record for record in records if record.trial == shown[0]["trial"])
    return [
        f"= cannot be told from the first at 5 % on these {scored_pages(first)} pages; "
        "confirm them with other seeds or more pages"
    ]


def _reasons(every: Sequence[dict[str, Any]], *, most: int | None) -> list[str]:
    """The first line of each failure, told once for all trials that have it."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in every:
        if row["reason"]:
            first = str(row["reason"]).strip().partition("\n")[0][:REASON_LENGTH]
            alike.setdefault((row["state"], first), []).append(row["trial"])
    lines = [f"{_few(trials)} {state}: {first}" for (state, first), trials in alike.items()]
    more = 0 if most is None else len(lines) - most
    return lines if more <= 0 else [*lines[:most], f"{more} more reasons in {CSV}"]


def _few(trials: Sequence[str]) -> str:
    more = f" and {len(trials) - NAMED} more" if len(trials) > NAMED else ""
    return ", ".join(trials[:NAMED]) + more
