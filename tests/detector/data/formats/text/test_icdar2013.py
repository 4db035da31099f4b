from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.data.formats.text import icdar2013
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled


def page(root: Path, content: str) -> Labelled:
    file = label_file(root, "gt_7.txt", content)
    assert claimants(file) == {"icdar2013"}
    (found,) = pages_of(icdar2013, file)
    return found


@pytest.mark.parametrize("box", ["1 2 30 12", "1, 2, 30, 12,", "1,2,30,12,", "1.0\t2 30.0 12"])
def test_blanks_and_commas_part_a_box_of_two_corners(tmp_path: Path, box: str) -> None:
    found = page(tmp_path, f'\ufeff{box} "Tea, for 2"\r\n\r\n')
    assert points_of(found) == [[[1, 2], [30, 2], [30, 12], [1, 12]]]
    assert told(found) == [("Tea, for 2", False)]
    assert (found.image, found.others) == ("gt_7", ("7",))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"say \"hi\"", 'say "hi"'),
        (r"back\\slash", r"back\slash"),
        (r"\\\"", '\\"'),
        ('say "hi"', 'say "hi"'),
        (r"C:\new", r"C:\new"),
        ("", ""),
        (" ", " "),
    ],
)
def test_a_backslash_stands_before_quotes_and_backslashes(
    tmp_path: Path, written: str, text: str
) -> None:
    assert told(page(tmp_path, f'1 2 30 12 "{written}" \n')) == [(text, False)]


def test_boxes_without_a_text_and_lines_that_are_none(tmp_path: Path) -> None:
    found = page(tmp_path, '1 2 30 12 "a"\n1 2 30 12\n1 2 30 12 "b"\n1 2 30 b\n')
    assert told(found) == [("a", False), (None, False), ("b", False), (None, False)]
    assert points_of(found)[3] == "1 2 30 b"


@pytest.mark.parametrize("line", ["1,2,3,4,a", "1 2 3 4", "1 2 3 4 5", '1,2,3,4,5,6,7,8,"a"'])
def test_lines_without_quotes_after_four_numbers_are_of_other_formats(
    tmp_path: Path, line: str
) -> None:
    assert not icdar2013.claims(label_file(tmp_path, "a.txt", f"{line}\n"))


@examples(100)
@given(st.lists(st.sampled_from(["1 ", "2,", '"', "a", "\\", "\n", "e9"])).map("".join))
def test_any_text_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    survives(icdar2013, label_file(tmp_path_factory.getbasetemp(), "a.txt", content))
