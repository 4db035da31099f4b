from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.services import aws_textract

BOX = [[0.1, 0.2], [0.5, 0.2], [0.5, 0.6], [0.1, 0.6]]


def block(kind: str, text: str | None = None, **more: Any) -> dict[str, Any]:
    geometry = {
        "BoundingBox": {"Left": 0, "Top": 0, "Width": 1, "Height": 1},
        "Polygon": [{"X": x, "Y": y} for x, y in BOX],
    }
    return {"BlockType": kind, "Text": text, "Geometry": geometry, "Confidence": 9.5} | more


ANSWER = {
    "DocumentMetadata": {"Pages": 1},
    "Blocks": [
        block("PAGE"),
        block("LINE", "a b"),
        block("WORD", "a"),
        block("WORD", "b", TextType="HANDWRITING"),
        block("SELECTION_ELEMENT"),
        block("CELL"),
    ],
}


def test_words_alone_are_found() -> None:
    assert claimed_by("inv.json", ANSWER) == {"aws_textract"}
    (page,) = pages_of(aws_textract, "sub/inv.json", ANSWER)
    assert (page.image, page.unit, page.size) == ("sub/inv", "fraction", None)
    assert told(page) == [(BOX, "a", False), (BOX, "b", False)]
    assert page.left_out == {"line": 1, "selection_element": 1, "cell": 1}


def test_a_word_without_a_polygon_has_its_box() -> None:
    sides = {"Left": "0.25", "Top": 0.5, "Width": 0.25, "Height": 0.125}
    content = {"Blocks": [block("WORD", "a", Geometry={"BoundingBox": sides})]}
    (page,) = pages_of(aws_textract, "inv.json", content)
    corners = [[0.25, 0.5], [0.5, 0.5], [0.5, 0.625], [0.25, 0.625]]
    assert told(page) == [(corners, "a", False)]


def test_parts_of_one_answer() -> None:
    parts = [
        {"Blocks": [block("PAGE", Page=1), block("WORD", "a", Page=1)], "NextToken": "x"},
        {"Blocks": [block("WORD", "b", Page="1")]},
    ]
    assert claimed_by("inv.json", parts) == {"aws_textract"}
    (page,) = pages_of(aws_textract, "inv.json", parts)
    assert (page.image, [text for _, text, _ in told(page)]) == ("inv", ["a", "b"])


def test_each_page_has_its_own_image() -> None:
    blocks = [
        block("PAGE", Page=1),
        block("WORD", "a", Page=1),
        block("PAGE", Page=2),
        block("WORD", "c", Page=3),
        block("PAGE", Page=3),
    ]
    content = {"DocumentMetadata": {"Pages": 3}, "Blocks": blocks}
    pages = pages_of(aws_textract, "inv.json", content)
    assert [page.image for page in pages] == ["inv", "inv-2", "inv-3"]
    assert pages[0].others[0] == "inv-1"
    assert [[text for _, text, _ in told(page)] for page in pages] == [["a"], [], ["c"]]


def test_an_empty_page() -> None:
    content = {"DocumentMetadata": {"Pages": 1}, "Blocks": []}
    assert claimed_by("inv.json", content) == {"aws_textract"}
    (page,) = pages_of(aws_textract, "inv.json", content)
    assert (page.image, page.words, page.labelled) == ("inv", {}, True)


def test_malformed_words_stay_as_they_are() -> None:
    content = {"Blocks": [block("WORD", "a", Geometry=None), 3, block("WORD", Geometry=[])]}
    (page,) = pages_of(aws_textract, "inv.json", content)
    assert [points for points, _, _ in told(page)] == [None, 3, None]


@pytest.mark.parametrize(
    "content", [{"Blocks": []}, {"Blocks": [{"Id": 1}]}, {"Blocks": {}, "DocumentMetadata": {}}, []]
)
def test_others_are_not_claimed(content: Any) -> None:
    assert claimed_by("inv.json", content) == set()


def test_a_file_of_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"inv\.json: must be an object with the list Blocks"):
        pages_of(aws_textract, "inv.json", {"JobStatus": "FAILED"})


@given(spoiled([ANSWER, ANSWER]))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(aws_textract, "inv.json", content)
