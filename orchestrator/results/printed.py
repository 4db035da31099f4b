"""The leaderboard on the terminal, and published beside measured scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.core.escape import printable
from orchestrator.results.leaderboard_table import fitting_table, table
from orchestrator.results.new_pages import in_words
from orchestrator.results.ranking import ranked
from orchestrator.space.published import FIGURES, Published
from orchestrator.trials.records import TrialRecord, TrialState

PLAIN_ROWS = 20  # of a summary
PLAIN_WIDTH = 140  # columns where there is no terminal to ask


def print_leaderboard(
    records: Sequence[TrialRecord],
    parameters: Sequence[str],
    *,
    published: Sequence[Published] = (),
    below: str | None = None,
) -> None:
    """Print the leaderboard to stdout, as wide as the terminal, and published beside measured.

    With a text that will be printed `below` it, it has as many trials as fit on a screen with that
    text, and where there is no terminal the first `PLAIN_ROWS`. Without one, a line says what to
    expect on new pages.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
        most = None if below is None else PLAIN_ROWS
        console.print(table(records, parameters, width=console.width, most=most))
    elif below is None:
        console.print(table(records, parameters, width=console.width))
    else:
        rest = sum(max(1, -(-len(line) // console.width)) for line in below.splitlines())
        # The shell's prompt takes a line too.
        console.print(fitting_table(records, parameters, console, below=rest + 1))
    if below is None and any(record.hmean for record in records):
        console.print(Text(in_words(records)), soft_wrap=True)
    if published:
        console.print(compare(published, records))


def compare(published: Sequence[Published], records: Sequence[TrialRecord]) -> Table:
    """Published beside measured scores, a row for each published result, in their order.

    A result's trial is the one with its settings; of several, the first by rank. Without one the
    row says so. Scores of a trial that did not finish are those of its best epoch so far.
    """
    out = Table(title="published beside measured", box=box.SIMPLE_HEAD, padding=0)
    out.caption = Text("published: the authors' pages and budget; measured: this run's")
    out.caption_justify = "left"
    out.add_column("\nrow", min_width=16)
    for source in ("published", "measured"):
        for header in (f"{source}\nH-mean", "\nP", "\nR"):
            out.add_column(header, justify="right", no_wrap=True)
    out.add_column("\ntrial", no_wrap=True)
    out.add_column("\nstate", no_wrap=True)
    for result in published:
        cells = [_score(getattr(result, name)) for name in FIGURES]
        out.add_row(Text(printable(result.row)), *cells, *_measured(result, records))
    return out


def _measured(result: Published, records: Sequence[TrialRecord]) -> list[str]:
    """The scores, the name and the state of a result's trial."""
    same = [r for r in records if _has(r, result.point)]
    if not same:
        return ["", "", "", "", "not run"]
    record = ranked(same)[0]
    failed = record.state is TrialState.FAILED
    scores = ["" if failed else _score(getattr(record, name)) for name in FIGURES]
    return [*scores, record.trial, record.state.value]


def _has(record: TrialRecord, point: Mapping[str, Any]) -> bool:
    """Whether a trial has all settings of a point; True is not 1 here."""
    return all(
        key in record.params
        and record.params[key] == value
        and isinstance(record.params[key], bool) is isinstance(value, bool)
        for key, value in point.items()
    )


def _score(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"
