from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.services import azure_read

FLAT = [1, 2, 9, 2, 9, 6, 1, 6]
BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
POINTS = [{"x": x, "y": y} for x, y in BOX]

PAGE = {
    "pageNumber": 1,
    "angle": 3.5,
    "width": 40,
    "height": 30,
    "unit": "pixel",
    "words": [{"content": "a", "polygon": FLAT}, {"content": "b", "polygon": POINTS}],
    "lines": [{"content": "a b", "polygon": FLAT}],
    "selectionMarks": [{"state": "selected", "polygon": FLAT}],
    "spans": [],
}
BARE = {"apiVersion": "1", "modelId": "prebuilt-read", "content": "a b", "pages": [PAGE]}


def line(outline: str, words: list[Any]) -> dict[str, Any]:
    """A line whose words are called a and b."""
    named = [{outline: word, "text": text} for word, text in zip(words, "ab", strict=True)]
    return {outline: words[0], "text": "a b", "words": named}


SHEET = {"page": 1, "width": 40, "height": 30, "unit": "pixel"}
READ_3 = {
    "status": "succeeded",
    "analyzeResult": {
        "version": "3.2",
        "readResults": [SHEET | {"lines": [line("boundingBox", [FLAT, list(map(str, FLAT))])]}],
    },
}
ANALYSIS = {
    "modelVersion": "1",
    "metadata": {"width": 40, "height": 30},
    "readResult": {"blocks": [{"lines": [line("boundingPolygon", [POINTS, POINTS])]}]},
}
SHAPES = [{"status": "succeeded", "analyzeResult": BARE}, BARE, READ_3, ANALYSIS]


@pytest.mark.parametrize("content", SHAPES)
def test_four_shapes(content: Any) -> None:
    assert claimed_by("sub/ticket.json", content) == {"azure_read"}
    (page,) = pages_of(azure_read, "sub/ticket.json", content)
    assert (page.image, page.unit, page.size) == ("sub/ticket", "pixel", (40, 30))
    assert told(page) == [(BOX, "a", False), (BOX, "b", False)]


def test_marks_to_select_are_no_words() -> None:
    (page,) = pages_of(azure_read, "ticket.json", BARE)
    assert page.left_out == {"selection mark": 1}


def test_the_names_of_the_python_libraries() -> None:
    words = [{"text": "a", "bounding_box": FLAT}]
    read = {"read_results": [{"unit": "pixel", "lines": [{"words": words}]}]}
    image = {"read_result": {"blocks": [{"lines": [{"words": words}]}]}}
    for content in ({"analyze_result": read}, image):
        assert claimed_by("a.json", content) == {"azure_read"}
        assert told(pages_of(azure_read, "a.json", content)[0]) == [(BOX, "a", False)]


def test_inches_become_fractions_of_the_page() -> None:
    page = {"unit": "inch", "width": "8", "height": 4, "words": [{"polygon": [2, 1] * 4}]}
    (found,) = pages_of(azure_read, "a.json", {"pages": [page]})
    assert (found.unit, found.size) == ("fraction", None)
    assert told(found) == [([[0.25, 0.25]] * 4, None, False)]


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 4}, {"width": "a", "height": 4}])
def test_inches_of_a_page_without_its_size_are_told(size: Any) -> None:
    page = {"unit": "inch", "words": [{"polygon": FLAT}], **size}
    (found,) = pages_of(azure_read, "a.json", {"pages": [page]})
    assert not found.labelled
    assert found.faults[0][1] == "bad-page"


@pytest.mark.parametrize(
    "content",
    [
        {"analyzeResult": {"pages": [{"pageNumber": 1, "unit": "pixel"}]}},
        {"analyzeResult": {"pages": []}},
        {"analyzeResult": {"readResults": [{"page": 1, "lines": []}]}},
        {"readResult": {"blocks": []}},
        {"modelId": "prebuilt-read", "pages": []},
    ],
)
def test_a_page_without_text(content: Any) -> None:
    assert claimed_by("a.json", content) == {"azure_read"}
    (page,) = pages_of(azure_read, "a.json", content)
    assert (page.image, page.words, page.labelled) == ("a", {}, True)


def test_each_page_has_its_own_image() -> None:
    pages = [PAGE, PAGE | {"pageNumber": 4}, PAGE | {"pageNumber": None}]
    found = pages_of(azure_read, "a.json", BARE | {"pages": pages})
    assert [page.image for page in found] == ["a", "a-4", "a-3"]


def test_malformed_words_stay_as_they_are() -> None:
    first, second = pages_of(azure_read, "a.json", {"pages": [{"words": [3, {"text": "a"}]}, "b"]})
    assert told(first) == [(3, None, False), (None, "a", False)]
    assert told(second) == [("b", None, False)]


@pytest.mark.parametrize(
    "content",
    [
        {"pages": [{"blocks": [], "dimensions": [1, 2]}]},
        {"pages": []},
        {"analyzeResult": {}},
        {"status": "failed", "error": {}},
        {"readResult": {}},
        [],
    ],
)
def test_others_are_not_claimed(content: Any) -> None:
    assert claimed_by("a.json", content) == set()


def test_a_file_of_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"a\.json: must be a result of Azure's Read"):
        pages_of(azure_read, "a.json", {"status": "failed"})


@pytest.mark.parametrize("shape", SHAPES)
@given(st.data())
@examples(100)
def test_wrong_values_anywhere_are_told(shape: Any, data: st.DataObject) -> None:
    assert_told(azure_read, "a.json", data.draw(spoiled(shape)))
