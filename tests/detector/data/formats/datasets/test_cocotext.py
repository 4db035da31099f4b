from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import cocotext

BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
MASK = [1, 2, 9, 2, 9, 6, 1, 6]
IMAGES = {
    "3": {"id": 3, "file_name": "COCO_3.jpg", "set": "train", "width": 40, "height": 30},
    "5": {"id": 5, "file_name": "COCO_5.jpg", "set": "val"},
}
CONTENT = {
    "cats": {},
    "info": {},
    "imgs": IMAGES,
    "anns": {
        "20": {
            "mask": MASK,
            "bbox": [0, 0, 1, 1],
            "image_id": 3,
            "language": "english",
            "utf8_string": "Stop",
            "legibility": "legible",
        },
        "10": {"mask": MASK, "image_id": 3, "legibility": "illegible", "utf8_string": ""},
        "11": {"bbox": [1, 2, 8, 4], "image_id": "3", "legibility": "legible"},
    },
    "imgToAnns": {"3": [20, 10, 11], "5": []},
}


def test_words_in_the_order_of_the_file_and_an_image_without_any() -> None:
    first, second = pages_of(cocotext, "cocotext.v2.json", CONTENT)
    assert told(first) == [(BOX, "Stop", False), (BOX, "", True), (BOX, None, False)]
    assert (first.image, first.size) == ("COCO_3.jpg", (40, 30))
    assert first.words["0001"]["language"] == "english"
    assert (second.image, second.words, second.labelled) == ("COCO_5.jpg", {}, True)


def test_ids_that_stand_in_the_keys_only() -> None:
    content = {
        "imgs": {"a_1": {"file_name": "a.jpg"}},
        "anns": {"a_1_1": {"polygon": MASK}, "x": {"polygon": MASK}},
        "imgToAnns": {"a_1": ["a_1_1"]},
    }
    first, lost = pages_of(cocotext, "a.json", content)
    assert (first.image, told(first)) == ("a.jpg", [(BOX, None, False)])
    assert (lost.image, len(lost.words)) == ("image_id None", 1)


@pytest.mark.parametrize(("text", "ignore"), [(".", True), ("a", False)])
def test_textocr(text: str, ignore: bool) -> None:
    annotations = {"3_1": {"image_id": "3", "points": MASK, "utf8_string": text}}
    first, _ = pages_of(cocotext, "TextOCR.json", {"imgs": IMAGES, "anns": annotations})
    assert told(first) == [(BOX, text, ignore)]


def test_a_full_stop_is_text_in_coco_text() -> None:
    annotations = {"1": {"image_id": 3, "mask": MASK, "utf8_string": "."}}
    first, _ = pages_of(cocotext, "a.json", {"imgs": IMAGES, "anns": annotations})
    assert told(first) == [(BOX, ".", False)]


def test_claims() -> None:
    assert claimed_by("a.json", CONTENT) == {"cocotext"}
    assert claimed_by("a.json", {"imgs": {}, "anns": {}}) == {"cocotext"}
    assert claimed_by("a.json", {"imgs": [], "anns": {}}) == set()
    assert claimed_by("a.json", {"images": [], "anns": {}}) == set()


@pytest.mark.parametrize("content", [[], {"imgs": {}}, {"imgs": [], "anns": {}}])
def test_a_file_of_another_shape_is_told(content: Any) -> None:
    with pytest.raises(InputError, match=r"a\.json: must be an object with the objects imgs"):
        pages_of(cocotext, "a.json", content)


@given(spoiled(CONTENT))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(cocotext, "a.json", content)
