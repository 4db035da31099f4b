from __future__ import annotations

from pathlib import Path

import pytest
from label_files import label_file

from detector.data.raw.label_file import repeated_keys


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("영수증 합계", "cp949"),
        ("뷁 합계 1,000", "cp949"),
        ("ÄRGER", "latin-1"),
        ("20 °C, £5, CAFÉ", "latin-1"),
        ("합계 ÄRGER", "utf-8"),
    ],
)
def test_the_encoding_is_that_in_which_letters_are_common(
    tmp_path: Path, text: str, encoding: str
) -> None:
    file = label_file(tmp_path, "a.txt", text.encode(encoding))
    assert file.decoded == (text, encoding)


def test_lines_lose_the_marks_of_byte_order_that_joining_left(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.txt", "\ufeffa\r\n\ufeff\r\n\ufeff\ufeffb\ufeffc\n")
    assert file.lines == ((1, "a"), (3, "b\ufeffc"))


def test_of_repeated_keys_the_last_counts_and_they_are_known(tmp_path: Path) -> None:
    value = label_file(tmp_path, "a.json", '{"a": {"b": 1}, "c": 2, "a": {"d": 3, "d": 4}}').json
    assert value == {"a": {"d": 4}, "c": 2}
    assert (repeated_keys(value), repeated_keys(value["a"])) == (("a",), ("d",))


def test_json_may_begin_with_several_marks_of_byte_order(tmp_path: Path) -> None:
    assert label_file(tmp_path, "a.json", '\ufeff\ufeff{"a": 1}').json == {"a": 1}
