from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled

from detector.core.errors import InputError
from detector.data.formats.datasets import native

BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
PAGES = {
    "images": {
        "a.jpg": {
            "img_w": 40,
            "img_h": 30,
            "words": {
                "0001": {
                    "points": BOX,
                    "transcription": "합계",
                    "language": ["ko"],
                    "orientation": "Horizontal",
                    "illegibility": False,
                    "word_tags": None,
                },
                "9": {"points": BOX, "transcription": "", "illegibility": True},
                "x": {"points": BOX, "transcription": "###"},
            },
            "tags": None,
        },
        "b.jpg": {"words": {}},
    }
}


def test_words_keep_their_ids_and_fields_and_illegible_ones_are_dont_care() -> None:
    first, second = pages_of(native, "jsons/train.json", PAGES)
    assert (first.image, first.size, first.labelled, first.faults) == ("a.jpg", (40, 30), True, [])
    assert list(first.words) == ["0001", "9", "x"]
    assert first.words["0001"] == PAGES["images"]["a.jpg"]["words"]["0001"]
    assert [word.get("ignore", False) for word in first.words.values()] == [False, True, False]
    assert (second.image, second.size, second.words) == ("b.jpg", None, {})
    assert second.labelled


def test_a_byte_order_mark_and_other_line_ends() -> None:
    text = '\ufeff{"images":\r\n{"a.jpg": {"words": {}}}}\r\n'
    (page,) = pages_of(native, "train.json", text.encode())
    assert page.image == "a.jpg"


@pytest.mark.parametrize("page", [{}, {"words": None}, {"img_w": 3, "img_h": 4}])
def test_a_page_whose_words_are_missing_is_unlabelled(page: Any) -> None:
    (found,) = pages_of(native, "train.json", {"images": {"a.jpg": page}})
    assert not found.labelled
    assert found.words == {}
    assert found.faults == []


def test_what_is_given_twice_is_told_and_the_last_counts() -> None:
    text = (
        '{"images": {"a.jpg": {"words": {}}, "b.jpg": {"words": {}}, "a.jpg": {"words": '
        '{"1": {"points": 1}, "2": {}, "1": {"points": 2}, "1": {"points": 3}}}}}'
    )
    first, second = pages_of(native, "train.json", text)
    assert [(word, kind) for word, kind, _ in first.faults] == [
        (None, "repeated-page"),
        ("1", "repeated-id"),
    ]
    assert first.words == {"1": {"points": 3}, "2": {}}
    assert second.faults == []


@pytest.mark.parametrize(
    ("page", "kind"), [([], "bad-page"), (None, "bad-page"), ({"words": []}, "bad-words")]
)
def test_a_page_that_is_none_is_told(page: Any, kind: str) -> None:
    (found,) = pages_of(native, "train.json", {"images": {"a.jpg": page}})
    ((word, found_kind, message),) = found.faults
    assert (word, found_kind) == (None, kind)
    assert "must be an object" in message
    assert not found.labelled


def test_marks_of_the_wrong_type_are_left_to_the_check() -> None:
    words = {"1": {"points": BOX, "illegibility": "maybe"}, "2": 5, "3": {"ignore": True}}
    (page,) = pages_of(native, "train.json", {"images": {"a.jpg": {"words": words}}})
    assert page.words["1"]["ignore"] == "maybe"
    assert page.words["2"] == 5
    assert page.words["3"] == {"ignore": True}


@pytest.mark.parametrize(
    "content",
    [
        PAGES,
        {"images": {}},
        {"images": {"a.jpg": {"words": {"0001": {"points": [[1, 2]]}}}}},
        {"images": {"a.jpg": {}}},
        {"images": {"a.jpg": []}},
        {"images": {"a.jpg": {"img_w": 1, "width": 1, "words": {}}}},
    ],
)
def test_its_files_are_claimed(content: Any) -> None:
    assert claimed_by("train.json", content) == {"native"}


@pytest.mark.parametrize(
    "content",
    [
        {"images": {"a.jpg": {"width": 4, "height": 3, "words": {}}}},
        {"images": {"a.jpg": {"words": {"0001": {"points": BOX, "text": "a", "ignore": False}}}}},
        {"images": {"a.jpg": {"boxes": []}}},
        {"images": {"a.jpg": {}}, "annotations": []},
        {"images": []},
        {"a.jpg": {"words": {}}},
        [],
    ],
)
def test_others_are_not_claimed(content: Any) -> None:
    assert "native" not in claimed_by("train.json", content)


@pytest.mark.parametrize("content", [[], {"pages": {}}, {"images": []}, 3])
def test_a_file_of_another_shape_is_told(content: Any) -> None:
    with pytest.raises(InputError, match=r"train\.json: must be an object .*got"):
        pages_of(native, "train.json", content)


@given(spoiled(PAGES))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(native, "train.json", content)
