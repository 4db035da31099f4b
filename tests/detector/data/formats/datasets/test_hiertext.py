from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import hiertext

BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]


def word(text: str, legible: Any = True) -> dict[str, Any]:
    return {"vertices": BOX, "text": text, "legible": legible, "vertical": False}


SPLIT = {
    "info": {"version": "1"},
    "annotations": [
        {
            "image_id": "0a1b",
            "image_width": 40,
            "image_height": 30,
            "paragraphs": [
                {
                    "vertices": BOX,
                    "legible": False,
                    "lines": [
                        # the line is not legible since one of its words is not
                        {"vertices": BOX, "legible": False, "words": [word("a"), word("", False)]},
                        {"vertices": BOX, "text": "", "legible": False, "words": []},
                    ],
                },
                {"vertices": BOX, "legible": False, "lines": []},
            ],
        },
        {"image_id": "0a1c", "paragraphs": []},
    ],
}


@pytest.mark.parametrize("name", ["gt/train.jsonl", "gt/train.json", "gt/train.jsonl.gz"])
@pytest.mark.parametrize("indent", [None, 1])
def test_one_object_whatever_the_name(name: str, indent: int | None) -> None:
    content = json.dumps(SPLIT, indent=indent).encode()
    content = gzip.compress(content) if name.endswith(".gz") else content
    assert claimed_by(name, content) == {"hiertext"}
    first, second = pages_of(hiertext, name, content)
    assert (first.image, first.size) == ("train/0a1b.jpg", (40, 30))
    assert told(first) == [(BOX, "a", False), (BOX, "", True), (BOX, "", True), (BOX, None, True)]
    assert (second.image, second.words, second.labelled) == ("train/0a1c.jpg", {}, True)


@pytest.mark.parametrize(
    ("legible", "ignore"), [(None, False), ("false", True), (0, True), ("true", False), ("?", True)]
)
def test_legible_in_other_types(legible: Any, ignore: bool) -> None:
    paragraphs = [{"lines": [{"words": [word("a", legible)]}]}]
    content = {"annotations": [{"image_id": 1, "paragraphs": paragraphs}]}
    (page,) = pages_of(hiertext, "a.jsonl", content)
    assert told(page) == [(BOX, "a", ignore)]


def test_what_is_no_page_or_word_is_told() -> None:
    content = {
        "annotations": [{"paragraphs": []}, {"image_id": 1}, {"image_id": 2, "paragraphs": 3}]
    }
    bad, unlabelled, odd = pages_of(hiertext, "a.jsonl", content)
    assert (bad.image, bad.faults[0][1]) == ("annotations[0]", "bad-page")
    assert not unlabelled.labelled
    assert told(odd) == [(3, None, True)]


@pytest.mark.parametrize(
    "content", [{"annotations": []}, {"annotations": [{"image_id": 1}]}, {"annotations": {}}, []]
)
def test_others_are_not_claimed(content: Any) -> None:
    assert "hiertext" not in claimed_by("a.jsonl", content)


def test_a_file_of_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"a\.jsonl: must be an object with the list annotations"):
        pages_of(hiertext, "a.jsonl", [])


@given(spoiled(SPLIT))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(hiertext, "a.jsonl", content)
