from __future__ import annotations

from typing import Any

import pytest

from detector.data.raw.values import field, first_object, flag, listed, nested


@pytest.mark.parametrize(
    ("value", "found"),
    [({"a": 1, "b": 2}, 1), ({"a": None, "b": 2}, 2), ({"c": 3}, None), ([1], None), (None, None)],
)
def test_the_first_field_that_is_there(value: Any, found: Any) -> None:
    assert field(value, "a", "b") == found


def test_no_item_is_lost_on_the_way_down() -> None:
    value = [{"lines": [{"words": [1, 2]}, 3, {}]}, 4, {"lines": {"words": [5]}}, {"lines": 6}]
    assert list(nested(value, "lines", "words")) == [1, 2, 3, 4, 5, 6]
    assert list(nested(None, "lines")) == []
    assert listed("ab") == ["ab"]


def test_the_first_object() -> None:
    assert first_object([1, {"a": 1}, {"b": 2}]) == {"a": 1}
    assert first_object({"x": 1, "y": {"a": 1}}) == {"a": 1}
    assert first_object([1]) is first_object(3) is None


@pytest.mark.parametrize("yes", [True, 1, "1", "True", 1.0])
def test_yes(yes: Any) -> None:
    assert flag(yes) is True


@pytest.mark.parametrize("no", [False, 0, "0", "false", None, "", 0.0])
def test_no(no: Any) -> None:
    assert flag(no) is False


@pytest.mark.parametrize("other", [2, "maybe", [], {"a": 1}])
def test_neither(other: Any) -> None:
    assert flag(other) == other
