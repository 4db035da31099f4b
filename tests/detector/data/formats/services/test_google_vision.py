from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.services import google_vision

# a coordinate of 0 is not written
VERTICES = [{"y": 2}, {"x": 9, "y": 2}, {"x": 9, "y": 6}, {"y": 6}]
BOX = [[0, 2], [9, 2], [9, 6], [0, 6]]


def poly(text: str) -> dict[str, Any]:
    return {"description": text, "boundingPoly": {"vertices": VERTICES}}


def word(text: str, box: Any = None) -> dict[str, Any]:
    symbols = [{"text": letter, "property": {"detectedBreak": {}}} for letter in text]
    return {"boundingBox": box or {"vertices": VERTICES}, "symbols": symbols}


def full(*words: Any) -> dict[str, Any]:
    """The whole text of an answer, on a page with a block a word."""
    blocks = [{"paragraphs": [{"words": [w]}], "boundingBox": {}} for w in words]
    return {"text": "all", "pages": [{"width": 40, "height": 30, "blocks": blocks}]}


def test_the_first_annotation_is_the_whole_text() -> None:
    answer = {"textAnnotations": [poly("ab\ncd"), poly("ab"), poly("cd")]}
    for content in (answer, {"responses": [answer]}):
        assert claimed_by("can.json", content) == {"google_vision"}
        (page,) = pages_of(google_vision, "sub/can.json", content)
        assert (page.image, page.unit) == ("sub/can", "pixel")
        assert told(page) == [(BOX, "ab", False), (BOX, "cd", False)]


def test_words_of_pages_are_their_symbols() -> None:
    answer = {"fullTextAnnotation": full(word("ab"), word("c,")), "textAnnotations": [poly("x")]}
    (page,) = pages_of(google_vision, "can.json", answer)
    assert told(page) == [(BOX, "ab", False), (BOX, "c,", False)]
    assert page.size == (40, 30)


def test_the_names_of_the_python_library() -> None:
    box = {"vertices": [{"x": x, "y": y} for x, y in BOX]}
    words = [{"bounding_box": box, "symbols": [{"text": "a"}]}]
    pages = [{"blocks": [{"paragraphs": [{"words": words}]}]}]
    for answer in (
        {"text_annotations": [{}, {"description": "a", "bounding_poly": box}]},
        {"full_text_annotation": {"pages": pages}},
    ):
        assert claimed_by("can.json", answer) == {"google_vision"}
        assert told(pages_of(google_vision, "can.json", answer)[0]) == [(BOX, "a", False)]


def test_pages_of_documents_are_measured_in_fractions() -> None:
    corners = [{}, {"x": 0.5}, {"x": 0.5, "y": 0.25}, {"y": 0.25}]
    about = {"uri": "gs://bucket/deed.pdf", "pageNumber": 2}
    answers = [
        {"fullTextAnnotation": full(word("a", {"normalizedVertices": corners})), "context": about},
        {"context": about | {"pageNumber": 3}},
    ]
    files = {"responses": [{"responses": answers, "totalPages": 2}]}
    for content in ({"responses": answers, "inputConfig": {}}, files):
        second, third = pages_of(google_vision, "output-1-to-2.json", content)
        assert (second.unit, second.size) == ("fraction", None)
        assert told(second) == [([[0, 0], [0.5, 0], [0.5, 0.25], [0, 0.25]], "a", False)]
        assert second.image == "gs://bucket/deed.pdf"
        assert any(name.endswith("/deed-2") for name in second.others)
        assert any(name.endswith("/deed-3") for name in third.others)
        assert (third.words, third.labelled) == ({}, True)


@pytest.mark.parametrize("content", [{}, {"responses": [{}]}])
def test_a_picture_without_text(content: Any) -> None:
    assert claimed_by("can.json", content) == {"google_vision"}
    (page,) = pages_of(google_vision, "can.json", content)
    assert (page.image, page.words, page.labelled) == ("can", {}, True)


def test_an_error_is_told() -> None:
    content = {"responses": [{"error": {"code": 3, "message": "bad image"}}, 5]}
    assert claimed_by("can.json", content) == {"google_vision"}
    failed, odd = pages_of(google_vision, "can.json", content)
    assert not failed.labelled
    ((_, kind, message),) = failed.faults
    assert kind == "bad-page"
    assert "bad image" in message
    assert odd.faults[0][1] == "bad-page"


@pytest.mark.parametrize(
    "answer", [{"fullTextAnnotation": {"text": "ab"}}, {"textAnnotations": [poly("ab")]}]
)
def test_a_text_without_its_words_leaves_a_page_unlabelled(answer: Any) -> None:
    (page,) = pages_of(google_vision, "can.json", answer)
    assert not page.labelled


def test_malformed_words_stay_as_they_are() -> None:
    words = [3, {}, {"boundingPoly": {"vertices": "x"}, "symbols": [1]}]
    (page,) = pages_of(google_vision, "can.json", {"textAnnotations": [{}, *words]})
    assert told(page) == [(3, None, False), (None, None, False), ("x", [None], False)]


@pytest.mark.parametrize(
    "content", [[], [{}], {"responses": []}, {"responses": [{"a": 1}]}, {"a": 1}, {"error": {}}]
)
def test_others_are_not_claimed_and_told(content: Any) -> None:
    assert claimed_by("can.json", content) == set()
    with pytest.raises(InputError, match=r"can\.json: must be an answer of Cloud Vision"):
        pages_of(google_vision, "can.json", content)


WHOLE = {
    "responses": [
        {"fullTextAnnotation": full(word("ab"), word("c")), "textAnnotations": [poly("a")] * 2},
        {"textAnnotations": [poly("a")] * 3, "context": {"uri": "a.png", "pageNumber": 1}},
    ]
}


@given(spoiled(WHOLE))
@examples(200)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(google_vision, "can.json", content)


@pytest.mark.parametrize("uri", ["/", "..", "a", ".", "", "a/.b", "gs://", 3])
def test_a_place_that_names_no_image(uri: Any) -> None:
    content = {"responses": [{"textAnnotations": [], "context": {"uri": uri}}]}
    (page,) = pages_of(google_vision, "can.json", content)
    assert page.image == "can"
