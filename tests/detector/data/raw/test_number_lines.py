from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file

from detector.data.raw.label_file import LabelFile
from detector.data.raw.number_lines import (
    begins_with_numbers,
    fractions,
    leading_numbers,
    mostly,
    text_after,
)


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("1, -2.5 ,+3.,.4,5e1,6E-1,x,7", [1, -2.5, 3, 0.4, 50, 0.6]),
        ("1,,2", [1]),
        ("1_0,2", []),
        ("\u0661,\u0662", []),
        ("", []),
    ],
)
def test_numbers_end_at_the_first_field_that_is_none(line: str, numbers: list[float]) -> None:
    assert leading_numbers(line) == numbers


def test_coordinates_that_are_not_finite_are_numbers_too() -> None:
    assert list(map(str, leading_numbers("NaN, -inf,Infinity,1,nano"))) == [
        *("nan", "-inf", "inf", "1.0")
    ]


@pytest.mark.parametrize(
    ("line", "count", "text"),
    [
        ("1,2,a,b", 2, "a,b"),
        ("1,2,", 2, ""),
        ("1,2", 2, None),
        ("1, 2, a, b", 2, "a, b"),
        ("1, 2,  a", 2, " a"),
        ("1,2, a", 2, " a"),
    ],
)
def test_the_text_is_all_after_the_fields(line: str, count: int, text: str | None) -> None:
    assert text_after(line, count) == text


@pytest.mark.parametrize("line", ["", "0", "a .1", "0.5 .1", "-1 .1", "0 1.2", "0 .1 x", "nan .1"])
def test_other_lines_have_no_fractions(line: str) -> None:
    assert fractions(line) is None


def test_at_least_half_of_the_lines_decide(tmp_path: Path) -> None:
    def is_a(line: str) -> bool:
        return line == "a"

    assert mostly(label_file(tmp_path, "1.txt", "a\nb\n"), is_a)
    assert not mostly(label_file(tmp_path, "2.txt", "a\nb\nc\n"), is_a)
    assert mostly(label_file(tmp_path, "3.txt", "\n"), is_a)


@pytest.mark.parametrize(
    ("line", "separator", "expected"),
    [
        ("1\t\t2", "\t", [1]),
        (" 1 \t-2.5e1\t.5x\t3", "\t", [1, -25]),
        ("1;2; 3 ;", ";", [1, 2, 3]),
        ("1 2  3 4a", None, [1, 2, 3]),
        ("1\u00a0,\u00a02,\u0663", ",", [1, 2]),
        ("", ",", []),
        ("1.2.3,4", ",", []),
    ],
)
def test_only_whole_fields_of_one_number_count(line, separator, expected):
    assert leading_numbers(line, separator) == expected


@examples(100)
@given(st.lists(st.booleans(), max_size=9))
def test_half_of_the_lines_are_enough(words):
    content = "\n".join(f"{word:d}" for word in words).encode()
    file = LabelFile(Path("a.txt"), PurePosixPath("a.txt"), content)
    assert mostly(file, lambda line: line == "1") == (2 * sum(words) >= len(words))


def test_letters_that_are_but_like_those_of_a_number_are_text() -> None:
    assert leading_numbers("1,\u0131nf,2") == [1.0]
    assert leading_numbers("1,na\u0274,2") == [1.0]


def test_any_blank_may_stand_around_a_number() -> None:
    assert leading_numbers("0\x1f,\u00a01,x") == [0.0, 1.0]


@examples(200)
@given(
    st.lists(st.sampled_from(["1", " 2.5", "-3 ", "nan", "", "x", "4a"]), max_size=10),
    st.integers(1, 10),
)
def test_a_line_begins_with_as_many_numbers_as_are_read(fields: list[str], count: int) -> None:
    line = ",".join(fields)
    assert begins_with_numbers(line, count) == (len(leading_numbers(line)) >= count)
