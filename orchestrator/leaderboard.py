"""The leaderboard of a run: files for programs, a table for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detector.errors import InputError
from detector.files import write_text
from orchestrator.leaderboard_table import table
from orchestrator.ranking import COLUMNS, LAST_COLUMNS, best, finite, ranked, rows
from orchestrator.records import TrialRecord

__all__ = ["best", "ranked", "read_leaderboard", "table", "write_leaderboard"]

CSV_NAME = "leaderboard.csv"
JSON_NAME = "leaderboard.json"
METRIC = "CLEval H-mean, competition dialect, mean over the validation pages"


def write_leaderboard(
    folder: Path, records: Sequence[TrialRecord], parameters: Sequence[str]
) -> None:
    """Write leaderboard.csv and leaderboard.json; a reader sees the old or the new, never half.

    The CSV has one row of `rows` a trial. The JSON has those rows too, with each trial's
    record beside them, and is what `read_leaderboard` reads.
    """
    table_rows = rows(records, parameters)
    extra = ("rank", "hmean_low", "hmean_high")
    entries = [
        {key: row[key] for key in extra} | _plain(record)
        for row, record in zip(table_rows, ranked(records), strict=True)
    ]
    content = {"metric": METRIC, "parameters": list(parameters), "trials": entries}
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *parameters, *LAST_COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in table_rows)
    write_text(folder / JSON_NAME, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / CSV_NAME, text.getvalue())


def _cell(value: Any) -> Any:
    """A CSV cell; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r\n", "\n").replace("\r", "\n")  # a lone \r would end the row
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def _plain(record: TrialRecord) -> dict[str, Any]:
    """The record for JSON, which has no NaN."""
    values = {key: finite(value) for key, value in record.to_dict().items()}
    return values | {"params": {key: finite(value) for key, value in record.params.items()}}


def read_leaderboard(folder: Path) -> list[TrialRecord]:
    """The records of leaderboard.json, in its order; InputError when it cannot be read."""
    path = folder / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [TrialRecord.from_dict(entry) for entry in content["trials"]]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; is it a run folder?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a leaderboard ({type(error).__name__}: {error}); "
            "write it again with python -m orchestrator.report"
        ) from None
