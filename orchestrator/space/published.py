"""Scores that others published for points of a space, and how they compare with a run's.

In a space file they stand with the point that they belong to, under keys that are no settings:
`published.row` (which result this is, in a few words), `published.hmean`,
`published.precision` and `published.recall`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from detector.escape import printable
from orchestrator.results.ranking import best
from orchestrator.trials.records import TrialRecord, TrialState

PREFIX = "published."
FIGURES = ("hmean", "precision", "recall")
KEYS = tuple(f"{PREFIX}{name}" for name in ("row", *FIGURES))


@dataclass(frozen=True)
class Published:
    """One published result: searched settings by dotted name, and its scores in [0, 1]."""

    point: dict[str, Any]
    hmean: float
    precision: float
    recall: float
    row: str  # what was published, in a few words

    def to_plain(self) -> dict[str, Any]:
        """The point with its figures, as the space file writes it."""
        figures = {f"{PREFIX}{name}": getattr(self, name) for name in FIGURES}
        return {f"{PREFIX}row": self.row, **figures, **self.point}


def settings_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a point of a space file sets, without what was published for it."""
    return {key: value for key, value in given.items() if not key.startswith(PREFIX)}


def read_published(
    given: Mapping[str, Any],
    point: Mapping[str, Any],
    held: Mapping[str, Any],
    places: Mapping[str, str],
    faults: list[str],
) -> Published | None:
    """What a space file says was published for a point; None without that or with a fault.

    `held` are settings of the point that this space fixes at another value: the row's text
    tells them. `places` are the keys' places in the file; faults are added to the list.
    """
    keys = [key for key in given if key.startswith(PREFIX)]
    if not keys:
        return None
    found = [f"{places[key]}: {fault}" for key in keys if (fault := _fault(key, given[key]))]
    missing = ", ".join(key for key in KEYS if key not in given)
    if missing:
        found.append(
            f"{places[keys[0]]}: {keys[0]}: figures are published together; add {missing}, "
            "or remove them all"
        )
    if not settings_of(given):
        found.append(f"{places[keys[0]]}: {keys[0]}: belongs to no setting; add the point's")
    faults += found
    if found or not point:
        return None
    told = ", ".join(f"{key}={value}" for key, value in held.items())
    row = given[f"{PREFIX}row"] + (f" (here {told})" if told else "")
    figures = {name: float(given[f"{PREFIX}{name}"]) for name in FIGURES}
    return Published(dict(point), row=row, **figures)


def _fault(key: str, value: Any) -> str | None:
    if key not in KEYS:
        near = get_close_matches(key.removeprefix(PREFIX), ("row", *FIGURES), n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else f"valid: {', '.join(KEYS)}"
        return f"{key}: unknown key; {hint}"
    if key == f"{PREFIX}row":
        if isinstance(value, str) and value.strip() and value.isprintable():
            return None
        return f"{key}: must be a line of text that says what was published, got {value!r}"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and 0 <= value <= 1:
        return None
    return f"{key}: must be a score from 0 to 1 (per cent divided by 100), got {value!r}"


def compare(published: Sequence[Published], records: Sequence[TrialRecord]) -> Table:
    """Published beside measured scores, a row for each published result, in their order.

    A result's trial is the one with its settings; of several, the best. Without a trial the
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
    record = best([r for r in same if r.state is not TrialState.FAILED]) or same[-1]
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
