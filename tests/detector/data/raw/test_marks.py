from __future__ import annotations

import pytest

from detector.data.raw.marks import is_dont_care, is_marked, is_set, text_name, used_text_name


@pytest.mark.parametrize(
    "name", ["###", "Illegible", "don't care", "DONT_CARE", "ignore", "판독불가"]
)
def test_names_that_mean_dont_care(name: str) -> None:
    assert is_dont_care(name)


@pytest.mark.parametrize("name", ["text", "", "legible", None, 3, ["ignore"]])
def test_names_that_do_not(name: object) -> None:
    assert not is_dont_care(name)


@pytest.mark.parametrize("value", [True, 1, " True ", "1", "yes", {"a": False, "b": True}])
def test_ticked(value: object) -> None:
    assert is_set(value)


@pytest.mark.parametrize("value", [False, 0, 2, "false", "", "maybe", {}, {"a": "no"}, None, [1]])
def test_not_ticked(value: object) -> None:
    assert not is_set(value)


@pytest.mark.parametrize(
    ("attributes", "marked"),
    [
        ({"ignore": "true"}, True),
        ({"ignore": "false"}, False),
        ({"legibility": "illegible"}, True),
        ({"flags": {"illegible": True}}, True),
        ({"flags": {"illegible": False, "bold": True}}, False),
        ({"text": "ignore"}, False),  # the word itself
        ("ignore", False),
    ],
)
def test_attributes_that_mark_a_word(attributes: object, marked: bool) -> None:
    assert is_marked(attributes, "text") is marked


def test_the_attribute_with_the_text() -> None:
    assert text_name(["colour", "note", "Transcription", "text_"]) == "text_"
    assert text_name(["language", "zapis", "more"]) == "zapis"
    assert text_name(["language", "ignore"]) is None


def test_the_attribute_with_the_text_of_those_used() -> None:
    used = [{"a": "", "b": "true", "c": "1.5"}, {"a": "no", "b": "", "d": True}, None]
    assert used_text_name(used) == "c"
    assert used_text_name([{"kind": "sign", "text": "1"}, {"text": "No"}]) == "text"
    assert used_text_name([{"bold": "yes"}, {"bold": "no"}]) is None
