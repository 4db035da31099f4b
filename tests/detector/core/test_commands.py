"""Printed commands mean to a shell what was meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.commands import command


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"a.b": 1, "resume": True, "x": None}, "python -m m a.b=1 resume=true x=null"),
        ({"output": Path("my runs/one")}, "python -m m 'output=my runs/one'"),
        ({"root": "영수증&co"}, "python -m m 'root=영수증&co'"),
        ({"some": ("a", "b")}, "python -m m 'some=[a,b]'"),
    ],
)
def test_a_command_is_as_plain_as_its_values(arguments, expected):
    assert command("m", arguments) == expected


def test_variables_stand_before_it():
    said = command("m", {"a": 1}, variables={"RAY_ADDRESS": "auto", "DIR": "a b"})
    assert said == "RAY_ADDRESS=auto DIR='a b' python -m m a=1"


@given(st.dictionaries(st.from_regex(r"[a-z.]+", fullmatch=True), st.text(min_size=1)))
def test_a_shell_reads_back_every_argument(arguments):
    words = shlex.split(command("m", arguments))
    assert words == ["python", "-m", "m", *(f"{k}={v}" for k, v in arguments.items())]
