"""Names and texts that others chose, in terminals, spreadsheets, files and pictures."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from detector.config.cli import guarded, log
from detector.core.errors import InputError
from detector.core.escape import csv_cell, csv_text, encodable, printable, printable_lines, shown
from detector.data.labels.exclusion import Suspicion, list_of
from detector.data.labels.pages import Page, Word
from detector.data.page.images import write_png
from detector.inference.submission import write_csv, write_json
from detector.metrics.files import read_pages
from detector.postprocess.polygons import Detections
from detector.review.contact_sheet import draw_sheets
from orchestrator.results.leaderboard import write_leaderboard
from orchestrator.results.leaderboard_table import table
from orchestrator.trials.records import TrialRecord, TrialState

BOX = np.array([[1, 2], [11, 2], [11, 7], [1, 7]], np.float32)
FOUND = Detections([BOX], np.array([0.9], np.float32))
FORMULA = '=HYPERLINK("http:x","y").png'
ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\r\x08evil\u202e.png"
LOW = [chr(code) for code in range(0xDC80, 0xDD00)]  # bytes of names that are no UTF-8


@given(st.text())
def test_what_is_shown_has_no_control_characters(text: str) -> None:
    assert printable(text).isprintable()
    assert all(line.isprintable() for line in printable_lines(text).split("\n"))
    assert printable_lines(text).count("\n") == text.count("\n")
    if text.isprintable():
        assert printable(text) == text


@given(st.text())
def test_cells_are_no_formulas_and_come_back(text: str) -> None:
    cell = csv_cell(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert not cell.startswith(("\t", "\r", "\n"))
    if not text.startswith("'"):
        assert csv_text(cell) == text


@pytest.mark.parametrize("value", [1, -1.5, None, True])
def test_only_text_is_escaped_in_cells(value: object) -> None:
    assert csv_cell(value) is value


# A high surrogate before a low one is another character in JSON; no file's name has one.
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(LOW), max_size=20))
def test_json_with_names_that_are_no_utf_8_can_be_written_and_read(text: str) -> None:
    name = text + os.fsdecode(b"\x80\xff")
    content = encodable(json.dumps({name: 1}, ensure_ascii=False)).encode()
    assert json.loads(content) == {name: 1}


def test_values_in_messages_are_cut() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown("x" * 10_000_000) == "'" + "x" * 116 + "..."
    assert shown(10**10_000) == "a number of thousands of digits"
    assert shown(deep) == "a deeply nested list"
    assert shown([1, "a"]) == "[1, 'a']"
    while deep:  # else freeing it would go as deep
        deep = deep.pop()  # type: ignore[assignment]


def test_messages_reach_the_terminal_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise InputError(f"{ESCAPES}: no such file\nsecond line")

    log(ESCAPES)
    assert guarded(fail) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert r"\x1b]0;title\x07\x1b[2J\x9b31m\r\x08evil\u202e.png" in lines[0]
    assert lines[2] == "second line"


def test_tables_show_control_characters_and_markup_as_they_are() -> None:
    record = TrialRecord(
        "1", TrialState.FAILED, {"model.weights": f"[red]{ESCAPES}"}, reason=f"[bold]{ESCAPES}"
    )
    buffer = io.StringIO()
    console = Console(file=buffer, width=200)
    console.print(table([record], ["model.weights"], width=200))
    text = buffer.getvalue()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "[red]" in text
    assert r"[bold]\x1b]0;title" in text


def test_predictions_for_names_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    found = {name: (FOUND, (100, 80)) for name in (FORMULA, "-1.png", "a'b.png", "plain.png")}
    write_csv(tmp_path / "pred.csv", found)
    write_json(tmp_path / "pred.json", found)
    with (tmp_path / "pred.csv").open(newline="", encoding="utf-8") as file:
        names = [row[0] for row in csv.reader(file)][1:]
    assert names == [f"'{FORMULA}", "'-1.png", "a'b.png", "plain.png"]
    # Both files are read back under the names of the images.
    assert read_pages(tmp_path / "pred.csv").keys() == found.keys()
    assert read_pages(tmp_path / "pred.json").keys() == found.keys()


def test_predictions_for_names_that_are_no_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\x80.png")
    write_json(tmp_path / "pred.json", {name: (FOUND, (100, 80))})
    write_csv(tmp_path / "pred.csv", {name: (FOUND, (100, 80))})
    assert list(read_pages(tmp_path / "pred.json")) == [name]
    assert "\\udc80.png" in (tmp_path / "pred.csv").read_text(encoding="utf-8")


def test_reasons_that_no_file_can_hold_do_not_stop_the_leaderboard(tmp_path: Path) -> None:
    record = TrialRecord("1", TrialState.FAILED, reason=os.fsdecode(b"\xff.png: broken"))
    write_leaderboard(tmp_path, [record], [])
    assert "\\udcff.png: broken" in (tmp_path / "leaderboard.csv").read_text(encoding="utf-8")
    text = (tmp_path / "leaderboard.json").read_text(encoding="utf-8")
    assert json.loads(text)["trials"][0]["reason"] == record.reason


def test_sheets_and_lists_of_doubts_take_any_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.full((80, 100, 3), 255, np.uint8))
    name = f"<script>alert(1)</script>{ESCAPES}\n" + "x" * 5000 + os.fsdecode(b"\x80")
    page = Page(name, path, 100, 80, (Word("1", BOX, FORMULA, ignore=False),))
    doubt = Suspicion(name, "1", "blank", 0.9, ESCAPES)
    (sheet,) = draw_sheets([(page, doubt)])
    assert sheet.ndim == 3
    content = json.dumps(list_of({"train": [doubt]}), indent=2)
    assert content.isascii()  # in a terminal or a page, it does nothing
    assert not any(ord(c) < 32 and c != "\n" for c in content)
