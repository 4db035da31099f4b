from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import funsd

FORM = {
    "form": [
        {
            "id": 0,
            "label": "question",
            "box": [0, 0, 30, 9],
            "text": "Name :",
            "linking": [[0, 1]],
            "words": [
                {"text": "Name", "box": [1, 2, 9, 6]},
                {"text": ":", "box": ["11", "2", "13", "6"]},
            ],
        },
        {"id": 1, "label": "other", "box": [1, 2, 3, 4], "text": "", "words": []},
        {"id": 2, "label": "other", "words": [{"text": "", "box": [5, 5, 7, 7]}]},
    ]
}


def test_words_are_found_once_and_those_without_text_are_dont_care() -> None:
    (page,) = pages_of(funsd, "training_data/annotations/a.json", FORM)
    assert page.image == "training_data/annotations/a"
    assert told(page) == [
        ([[1, 2], [9, 2], [9, 6], [1, 6]], "Name", False),
        ([[11, 2], [13, 2], [13, 6], [11, 6]], ":", False),
        ([[5, 5], [7, 5], [7, 7], [5, 7]], "", True),
    ]
    assert page.left_out == {"entity without words": 1}


def test_a_form_without_entities() -> None:
    (page,) = pages_of(funsd, "a.json", {"form": []})
    assert page.words == {}
    assert page.labelled


def test_malformed_words_stay_as_they_are() -> None:
    content = {"form": [{"words": [3, {"box": [1, 2, 3]}, {"text": "a"}]}, "b"]}
    (page,) = pages_of(funsd, "a.json", content)
    assert [points for points, _, _ in told(page)] == [3, [1, 2, 3], {"text": "a"}, "b"]


@pytest.mark.parametrize("content", [FORM, {"form": []}])
def test_its_files_are_claimed(content: Any) -> None:
    assert claimed_by("a.json", content) == {"funsd"}


@pytest.mark.parametrize(
    "content", [{"form": [], "x": 1}, {"form": [{"box": []}]}, {"form": {}}, []]
)
def test_others_are_not_claimed(content: Any) -> None:
    assert claimed_by("a.json", content) == set()


def test_a_file_of_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"a\.json: must be an object with the list form"):
        pages_of(funsd, "a.json", {"forms": []})


@given(spoiled(FORM))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(funsd, "a.json", content)
