"""The leaderboard of a run: files for programs, a table for people."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from detector.core.commands import command
from detector.core.errors import InputError
from detector.core.escape import csv_cell, encodable
from detector.core.files import write_text
from orchestrator.results.new_pages import as_json
from orchestrator.results.ranking import COLUMNS, last_columns, ranked, rows
from orchestrator.trials.pareto import SCORE_AND_SIZE, Objectives
from orchestrator.trials.records import TrialRecord, finite

CSV_NAME = "leaderboard.csv"
JSON_NAME = "leaderboard.json"
PAGE_DIGITS = 6
_RECORDED = tuple(field.name for field in fields(TrialRecord))
_TEXTS_KEPT = 1 << 12
_json = json.JSONEncoder(ensure_ascii=False).encode
METRIC = "CLEval H-mean, competition dialect, mean over the validation pages"


def write_leaderboard(
    folder: Path,
    records: Sequence[TrialRecord],
    parameters: Sequence[str],
    objectives: Objectives = SCORE_AND_SIZE,
) -> None:
    """Write leaderboard.csv and leaderboard.json; a reader sees the old or the new, never half.

    The CSV has one row of `rows` a trial. The JSON has one line a trial: its record, page
    scores rounded to PAGE_DIGITS, with the figures of that row which are not in it. It is
    what `read_leaderboard` reads. Before them it has what to expect on new pages.
    """
    table_rows = rows(records, parameters, objectives)
    columns = [*COLUMNS, *parameters, *last_columns(objectives)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row.values()] for row in table_rows)
    computed = [name for name in columns if name not in (*_RECORDED, *parameters)]
    entries = [
        _entry({name: row[name] for name in computed}, record)
        for row, record in zip(table_rows, ranked(records), strict=True)
    ]
    head = {"metric": METRIC, "parameters": list(parameters), "new_pages": as_json(records)}
    begin = "".join(f"{_json(key)}: {_json(value)},\n" for key, value in head.items())
    content = f'{{{begin}"trials": [\n' + ",\n".join(entries) + "\n]}\n"
    write_text(folder / JSON_NAME, encodable(content))
    write_text(folder / CSV_NAME, encodable(text.getvalue()))


def _entry(computed: dict[str, Any], record: TrialRecord) -> str:
    """A trial as a line of JSON, which has no NaN."""
    values = computed | {key: finite(value) for key, value in record.to_dict().items()}
    values["params"] = {key: finite(value) for key, value in record.params.items()}
    del values["page_hmeans"]
    return f'{_json(values)[:-1]}, "page_hmeans": {_page_scores(record.page_bytes)}}}'


# Most of what is written, and the same each time.
@lru_cache(maxsize=_TEXTS_KEPT)
def _page_scores(page_bytes: bytes | None) -> str:
    """JSON of packed scores, null for a page without one."""
    if page_bytes is None:
        return "null"
    return _json([finite(v) for v in np.frombuffer(page_bytes).round(PAGE_DIGITS).tolist()])


def _cell(value: Any) -> Any:
    """A CSV cell; see `csv_cell`."""
    if not isinstance(value, str):
        return value
    return csv_cell(value.replace("\r\n", "\n").replace("\r", "\n"))  # a lone \r ends the row


def read_leaderboard(folder: Path) -> list[TrialRecord]:
    """The records of leaderboard.json, in its order; InputError when it cannot be read."""
    path = folder / JSON_NAME
    remedy = f"write it again with {command('orchestrator.report', {'run': folder})}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [_record(entry) for entry in content["trials"]]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a leaderboard ({type(error).__name__}: {error}); {remedy}"
        ) from None


def _record(entry: dict[str, Any]) -> TrialRecord:
    """A trial of leaderboard.json, where null stands for the NaN of a page without a score."""
    pages = entry.get("page_hmeans")
    if pages is not None:
        entry |= {"page_hmeans": [math.nan if v is None else v for v in pages]}
    return TrialRecord.from_dict(entry)
