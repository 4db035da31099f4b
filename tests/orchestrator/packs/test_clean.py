from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.packs.clean import HIDDEN, cleaned, cleaned_values

HOME = Path("/home/ada")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ada:pass@db/one", "postgresql://db/one"),
        ("s3://KEY:SECRET@bucket/x s3://bucket/x", "s3://bucket/x s3://bucket/x"),
        ("https://ghp_abc@github.com/a/b", "https://github.com/a/b"),
        ("WANDB_API_KEY=123abc python", f"WANDB_API_KEY={HIDDEN} python"),
        ('{"auth_token": "a.b-c", "lr": 1}', f'{{"auth_token": "{HIDDEN}", "lr": 1}}'),
        ("password: x\nepochs: 3", f"password: {HIDDEN}\nepochs: 3"),
        ("aws_secret_access_key = q/w+e", f"aws_secret_access_key = {HIDDEN}"),
        ("the token is not here", "the token is not here"),
        ("/home/ada/data and /home/ada.", "~/data and /home/ada."),
        ("/home/adam/data", "/home/adam/data"),
        ("/home/ada", "~"),
        ("mail ada@example.org", "mail ada@example.org"),
    ],
)
def test_cleaned_by_hand(text: str, expected: str):
    assert cleaned(text, HOME) == expected


def test_a_user_without_a_home_keeps_paths():
    assert cleaned("/data/x", Path("/")) == "/data/x"
    assert cleaned("/data/x", None) == "/data/x"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token", "x_password", "lr"]) | st.text(), inner)
    ),
    max_leaves=12,
)


@examples(200)
@given(VALUES)
def test_values_keep_their_shape_and_what_is_clean_stays(values: Any):
    found = cleaned_values(values, HOME)
    assert _shape(found) == _shape(values)
    assert cleaned_values(found, HOME) == found


def test_values_of_named_secrets_are_hidden_by_hand():
    values = {"token": "abc", "my_password": None, "more": [{"secret": "x", "n": 1}, "/home/ada/d"]}
    hidden = {"token": HIDDEN, "my_password": None, "more": [{"secret": HIDDEN, "n": 1}, "~/d"]}
    assert cleaned_values(values, HOME) == hidden


def _shape(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _shape(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_shape(value) for value in values]
    return type(values) if isinstance(values, str) else values
