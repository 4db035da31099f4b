from __future__ import annotations

import json
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import cord

BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
# keys in no order: the corners are 1 to 4
QUAD = {"x3": 9, "y3": 6, "x1": 1, "y1": 2, "y4": 6, "x4": 1, "x2": 9, "y2": 2}
RECEIPT = {
    "gt_parse": {"menu": []},
    "meta": {"image_size": {"width": 40, "height": 30}},
    "valid_line": [
        {"words": [{"quad": QUAD, "text": "합계", "row_id": 1}], "category": "total"},
        {"words": []},
        {"words": [{"quad": QUAD, "text": ""}]},
    ],
    "roi": QUAD,
    "repeating_symbol": [[{"quad": QUAD, "text": "==="}]],
    "dontcare": [[QUAD, QUAD], []],
}
WORDS = [
    (BOX, "합계", False),
    (BOX, "", False),
    (BOX, "===", True),
    (BOX, None, True),
    (BOX, None, True),
]


def lines(*values: Any) -> str:
    return "".join(f"{json.dumps(value)}\r\n" for value in values)


def line(name: str, truth: Any) -> dict[str, Any]:
    return {"file_name": name, "ground_truth": json.dumps(truth)}


def test_a_line_an_image() -> None:
    empty = {"valid_line": [], "roi": {}, "dontcare": []}
    text = "\ufeff" + lines(line("a.png", RECEIPT)) + "\r\n" + lines(line("sub/b.png", empty))
    first, second = pages_of(cord, "train/metadata.jsonl", text)
    assert (first.image, first.size, told(first)) == ("a.png", (40, 30), WORDS)
    assert (second.image, second.words, second.labelled) == ("sub/b.png", {}, True)


def test_a_file_an_image() -> None:
    (page,) = pages_of(cord, "train/json/receipt_1.json", RECEIPT)
    assert (page.image, told(page)) == ("train/json/receipt_1", WORDS)


def test_groups_may_be_missing_around_quads() -> None:
    content = {"valid_line": [], "dontcare": [QUAD], "repeating_symbol": [{"quad": QUAD}]}
    (page,) = pages_of(cord, "a.json", content)
    assert told(page) == [(BOX, None, True), (BOX, None, True)]


def test_negative_corners_and_corners_as_text() -> None:
    quad = {key: str(-value) for key, value in QUAD.items()}
    (page,) = pages_of(cord, "a.json", {"valid_line": [{"words": [{"quad": quad}]}]})
    assert told(page) == [([[-x, -y] for x, y in BOX], None, False)]


def test_a_line_without_words_is_unlabelled_and_one_without_a_name_told() -> None:
    text = lines(line("a.png", {"gt_parse": {}}), {"file_name": "b.png"}, [1])
    first, second, third = pages_of(cord, "metadata.jsonl", text)
    assert (first.labelled, second.labelled, third.labelled) == (False, False, False)
    assert third.image == "line 3"
    assert third.faults[0][1] == "bad-page"


def test_malformed_words_stay_as_they_are() -> None:
    content = {"valid_line": [3, {"words": [{"text": "a"}, {"quad": {"x1": 1}}]}]}
    (page,) = pages_of(cord, "a.json", content)
    assert [points for points, _, _ in told(page)] == [
        3,
        {"text": "a"},
        [1, None, None, None, None, None, None, None],
    ]


def test_claims() -> None:
    assert claimed_by("metadata.jsonl", lines(line("a.png", RECEIPT))) == {"cord"}
    assert claimed_by("metadata.jsonl", lines(line("a.png", {"gt_parse": {}}))) == set()
    assert claimed_by("metadata.jsonl", lines({"file_name": "a", "text": "b"})) == set()
    assert claimed_by("metadata.jsonl", '{"ground_truth": ') == set()
    assert claimed_by("metadata.jsonl", "") == set()
    assert claimed_by("a.json", RECEIPT) == {"cord"}
    assert claimed_by("a.json", {"valid_line": 3}) == set()
    assert claimed_by("a.json", []) == set()


def test_broken_files_are_told_with_their_place() -> None:
    with pytest.raises(InputError, match=r"metadata\.jsonl: line 2: ground_truth: not valid JSON"):
        pages_of(
            cord, "metadata.jsonl", lines(line("a", {}), {"file_name": "b", "ground_truth": "{"})
        )
    with pytest.raises(InputError, match=r"a\.json: must be an object with valid_line"):
        pages_of(cord, "a.json", {})


@given(spoiled([RECEIPT]))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(cord, "a.json", content[0])
    assert_told(cord, "metadata.jsonl", lines(line("a.png", content[0])))


@given(spoiled([line("a.png", RECEIPT)]))
@examples(50)
def test_wrong_lines_are_told(content: Any) -> None:
    assert_told(cord, "metadata.jsonl", lines(*content))
