"""YAML as this project reads and writes it: version 1.2, plain values, the same ones back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.core.plain import dump_yaml, parse_lines, parse_yaml

# Text that YAML 1.1 or 1.2 reads as something else when it stands without quotes.
AMBIGUOUS = [
    *("1e3", "1E-5", "1.5e3", "-.5", "0x1F", "0o17", "0b1", "012", "09", "1_000", "12:30", "1."),
    *("yes", "on", "off", "n", "true", "~", "null", "", "2024-01-01", ".inf", ".NaN", "=", "<<"),
    *(" a", "a ", "- a", "a: b", "#x", "a #x", "[a", "{a", "*a", "&a", "!a", "%a", "@a", "`a"),
    *("한글", "a\nb", "\ta", "\x85", "\u2028", "\ufeff", "\x00", "\udce9", "'", '"', "?", "---"),
]
TEXTS = (
    st.sampled_from(AMBIGUOUS) | st.text() | st.from_regex(r"[-+0-9._exo:]{1,6}", fullmatch=True)
)
SCALARS = (
    TEXTS | st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types: 1 is not 1.0 here, nor True."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@examples(300)
@given(VALUES)
@example(AMBIGUOUS)
@example(dict.fromkeys(AMBIGUOUS, "1e3"))
def test_what_is_written_is_read_back(value: Any) -> None:
    text = dump_yaml(value)
    assert same(parse_yaml(text, "here"), value), text


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_other_readers_have_the_same_text(text: str) -> None:
    assert yaml.safe_load(dump_yaml({"key": text})) == {"key": text}


def test_a_value_that_stands_twice_is_written_twice() -> None:
    twice = [1, 2]
    assert parse_yaml(dump_yaml({"a": twice, "b": twice}), "here") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5e+2", 150.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.INF", float("-inf")),
        ("-3", -3),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("'5'", "5"),
    ],
)
def test_words_are_read_by_the_core_schema(text: str, value: Any) -> None:
    assert same(parse_yaml(f"key: {text}", "here"), {"key": value})


def test_files_that_pyyaml_wrote_are_read_as_before() -> None:
    values = {"lr": 1e-05, "amp": "off", "name": "012", "size": 8, "weights": None, "flip": True}
    assert same(parse_yaml(yaml.safe_dump(values, sort_keys=False), "here"), values)


def test_lines_are_those_of_keys_and_list_items() -> None:
    _, lines = parse_lines("# note\na:\n  b.c: 1\nd:\n  - x: 1\n    y: 2\n", "here")
    assert lines == {
        (): 1,
        ("a",): 2,
        ("a", "b.c"): 3,
        ("d",): 4,
        ("d", 0): 5,
        ("d", 0, "x"): 5,
        ("d", 0, "y"): 6,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4", "here:3: a: given twice (first in line 1); keep one\nhere:4: b"),
        ("a: 1\nb: !!python/name:os.system\n", "here:2: not valid YAML: could not read tag:yaml"),
        ("a: 1\nb: !!int x\n", "here:2: not valid YAML: 'x' is no int"),
        ("a: 2024-01-01\nb: !!timestamp 2024-01-01\n", "here:2: not valid YAML: could not read"),
        ("a: " + "9" * 400, "here:1: not valid YAML: a number of hundreds of digits"),
        ("a: [1\n", "here:2: not valid YAML: expected ',' or ']'"),
    ],
)
def test_faults_name_their_lines(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "here")
    assert str(caught.value).startswith(message)
    with pytest.raises(InputError, match=r"^here: "):
        parse_yaml(text, "here", lines=False)
