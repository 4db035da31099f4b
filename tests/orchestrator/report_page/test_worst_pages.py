"""The worst pages: which they are, and what CLEval took off on them."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.core.errors import InputError
from detector.data.labels.annotations import Page, Word
from detector.metrics.cleval import read_words
from orchestrator.report_page.blocks import Paragraph, Section
from orchestrator.report_page.worst_pages import (
    Losses,
    data_uri,
    in_short,
    losses_of,
    worst_pages,
)


def box(x, y, width, height=20):
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def make_page(name, *, words=1):
    found = tuple(Word(str(i), box(0, 30 * i, 50), "won", False) for i in range(words))
    return Page(name, Path(name), 100, 100, found)


def test_the_lowest_pages_come_first_and_equal_ones_by_name():
    pages = [make_page(name) for name in "abcd"]
    worst = worst_pages({"d": 0.1, "c": 0.5, "b": 0.5, "a": 0.9}, pages, most=3)
    assert [(w.page.name, w.hmean) for w in worst] == [("d", 0.1), ("b", 0.5), ("c", 0.5)]


def test_scores_belong_to_pages_by_name_whatever_either_lacks():
    pages = [make_page("a"), make_page("b", words=0), make_page("c"), make_page("new")]
    found = worst_pages({"c": 0.1, "a": 0.2, "gone": 0.0}, pages)
    assert [(w.page.name, w.hmean) for w in found] == [("c", 0.1), ("a", 0.2)]


def test_other_pages_than_those_scored_are_refused():
    with pytest.raises(InputError, match="none of the 2 pages that were scored is there now"):
        worst_pages({"c": 0.1, "d": 0.2}, [make_page("a"), make_page("b")])
    with pytest.raises(InputError, match="no scores of its single pages"):
        worst_pages({}, [make_page("a")])


def test_losses_are_what_cleval_counted():
    # A word found, one missed, one in two parts, two under one detection, one ignored.
    words = [
        *(box(0, 0, 60), box(0, 40, 60), box(0, 80, 60)),
        *(box(0, 120, 60), box(70, 120, 60), box(0, 160, 60)),
    ]
    ignore = [False] * 5 + [True]
    found = [
        *(box(0, 0, 60), box(0, 80, 29), box(31, 80, 29)),
        *(box(0, 120, 130), box(200, 200, 60)),
    ]
    match = read_words("competition", words, ["abcdef"] * 6, ignore).match(found)
    losses = losses_of(match)
    assert losses == Losses(words=5, missed=1, partial=0, merging=1, splitting=1, false=1)
    assert str(losses + losses) == (
        "10 words, of which 2 missed and 2 cut into parts; 2 detections on several words; "
        "2 false detections"
    )
    assert str(replace(Losses(), words=1)) == "1 word, all found whole"


def test_a_picture_is_a_jpeg_in_the_page():
    image = np.zeros((40, 30, 3), np.uint8)
    image[..., 0] = 255
    head, _, data = data_uri(image).partition(",")
    assert head == "data:image/jpeg;base64"
    read = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (read.format, read.size) == ("JPEG", (30, 40))
    red, green, blue = np.asarray(read)[20, 15].tolist()
    assert red > 240
    assert max(green, blue) < 20


def test_the_first_sentence_is_for_the_summary():
    drawn = Section("worst", "", [Paragraph("The two pages: 3 words.", strong=True)])
    assert in_short(drawn) == "Where it still fails: the two pages: 3 words."
    assert in_short(Section("worst", "", [Paragraph("No data.")])) == ""
