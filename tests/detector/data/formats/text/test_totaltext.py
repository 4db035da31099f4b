from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.data.formats.text import totaltext
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

CORNERS = [[1, 2], [30, 2], [30, 12], [1, 12]]


def word(texts: str, kind: str = "u'h'", xs: str = " 1 30 30  1", ys: str = "2 2 12 12") -> str:
    return f"x: [[{xs}]], y: [[{ys}]], ornt: [{kind}], transcriptions: [{texts}]\n"


def page(root: Path, content: str) -> Labelled:
    file = label_file(root, "poly_gt_img9.txt", content)
    assert claimants(file) == {"totaltext"}
    (found,) = pages_of(totaltext, file)
    return found


def test_arrays_are_outlines_and_go_on_in_the_next_lines(tmp_path: Path) -> None:
    curve = word("u'TEA, ICE'", "u'c'", "-1 10\n   20. 20 10 1", "5   2\r\n 5 15 12.5 15")
    found = page(tmp_path, word("u'A'") + curve)
    assert points_of(found) == [
        CORNERS,
        [[-1, 5], [10, 2], [20, 5], [20, 15], [10, 12.5], [1, 15]],
    ]
    assert told(found) == [("A", False), ("TEA, ICE", False)]
    assert [w["orientation"] for w in found.words.values()] == ["Horizontal", "Curved"]
    assert (found.image, found.others) == ("poly_gt_img9", ("img9",))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('u"JOE\'S"', "JOE'S"),
        (r"u'\'a\' \"b\"'", "'a' \"b\""),
        (r"u'caf\xe9 \u20ac'", "café €"),
        (r"u'\ud83d\ude00 \U0001f600'", "😀 😀"),
        (r"u'\ud83d'", "\ufffd"),
        (r"u'\Uffffffff'", r"\Uffffffff"),
        (r"u'a\\n'", r"a\n"),
        ("u'[7], x: [[1]]'", "[7], x: [[1]]"),
        ("'of Python 3'", "of Python 3"),
        ("u'two', u'texts'", "two texts"),
        ("u''", ""),
    ],
)
def test_texts_are_python_literals(tmp_path: Path, written: str, text: str) -> None:
    assert told(page(tmp_path, word(written))) == [(text, False)]


def test_dont_care_by_orientation_by_text_and_without_any(tmp_path: Path) -> None:
    lines = [word("u'#'", "u'#'"), word("u'a'", "u'#'"), word("u'#'"), word("", ""), word("u'#1'")]
    assert told(page(tmp_path, "".join(lines))) == [
        ("#", True),
        ("a", True),
        ("#", True),
        (None, True),
        ("#1", False),
    ]


def test_words_that_are_none_are_told_with_the_others(tmp_path: Path) -> None:
    broken = "x: [[1 2, ornt: [u'c']\n"
    found = page(tmp_path, word("u'a'") + broken + word("u'b'", xs="1 2 oops", ys="1 2"))
    assert points_of(found) == [CORNERS, broken.strip(), [[1, 1], [2, 2], ["oops", None]]]


def test_an_empty_file_is_a_page_without_words(tmp_path: Path) -> None:
    (found,) = pages_of(totaltext, label_file(tmp_path, "a.txt", "\r\n"))
    assert found.words == {}


@examples(100)
@given(st.lists(st.sampled_from([word("u'a'"), "x: [", "[", "]", "u'", "\n", ", y: "])))
def test_any_text_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    survives(totaltext, label_file(tmp_path_factory.getbasetemp(), "a.txt", "".join(parts)))


@pytest.mark.timeout(60)  # minutes and more where time is the square of the length
def test_long_files_of_other_lines_are_looked_at_in_one_go(tmp_path: Path) -> None:
    line = f"1,2,30,2,30,12,1,12,{'A' * 270}\n"
    assert not totaltext.claims(label_file(tmp_path, "a.txt", line * 200_000))
