"""The files of a report on a dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.data.labels.exclusion import Suspicion
from detector.data.labels.pages import Page, Split, Word
from detector.review.contact_sheet import MOST, SHEETS
from detector.review.look import Look
from detector.review.report import report_lines, write_report

POINTS = np.array([[40, 40], [100, 40], [100, 60], [40, 60]], np.float32)


def look_of(folder: Path, doubts: int) -> Look:
    path = folder / "a.png"
    Image.new("RGB", (200, 100), (250, 250, 250)).save(path)
    words = tuple(Word(f"{i:04d}", POINTS, None, False) for i in range(doubts))
    page = Page("a.png", path, 200, 100, words)
    suspicions = [Suspicion("a.png", word.id, "tiny", 0.5, "") for word in words]
    split = Split("train", (page,), ())
    return Look(split, True, {"words": doubts}, suspicions, [], [])


def sheets(written: list[Path]) -> list[str]:
    return [path.name for path in written if path.name.startswith("suspicious")]


def test_every_doubt_is_in_the_list_and_on_a_sheet(tmp_path):
    written = write_report(tmp_path, [look_of(tmp_path, 2 * MOST + 1)], (), None)
    pictures = ["suspicious.png", "suspicious_2.png", "suspicious_3.png"]
    assert sheets(written) == ["suspicious.json", *pictures]
    assert all(path.is_file() for path in written)
    listed = json.loads((tmp_path / "suspicious.json").read_text())["images"]["a.png"]
    assert len(listed) == 2 * MOST + 1


def test_sheets_of_an_earlier_report_go_and_its_list_stays(tmp_path):
    write_report(tmp_path, [look_of(tmp_path, MOST + 1)], (), None)
    before = (tmp_path / "suspicious.json").read_bytes()
    written = write_report(tmp_path, [look_of(tmp_path, 1)], (), None)
    assert sheets(written) == ["suspicious.png"]
    assert not (tmp_path / "suspicious_2.png").exists()
    assert (tmp_path / "suspicious.json").read_bytes() == before
    assert (tmp_path / "new_suspicious.json") in written


@pytest.mark.parametrize(
    ("doubts", "line"),
    [
        (MOST * SHEETS, "train: 1200 suspicious words"),
        (
            MOST * SHEETS + 1,
            "train: 1201 suspicious words; pictures show the 1200 highest scores",
        ),
    ],
)
def test_what_no_picture_shows_is_said(tmp_path, doubts, line):
    assert line in list(report_lines(look_of(tmp_path, doubts)))
