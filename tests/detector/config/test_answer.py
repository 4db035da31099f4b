"""What a program reads from a command with --json."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detector.config.answer import answer, as_json, collected, print_answer, split_off
from detector.config.cli import answered, parse_arguments
from detector.core.errors import InputError, JobError


def read(capfd) -> tuple[dict, str]:
    """The document on stdout, and what is on stderr."""
    out, err = capfd.readouterr()
    return json.loads(out), err


def test_stdout_is_one_document_and_all_else_is_on_stderr(capfd):
    def job(arguments: list[str]) -> int:
        print("for people")
        subprocess.run([sys.executable, "-c", "print('of another process')"], check=True)
        os.write(1, b"of C code\n")
        answer({"arguments": arguments, "path": Path("runs/r"), "none": math.nan})
        answer({"more": (1, 2)})
        return 3

    assert answered(job, ["a=1", "--json"]) == 3
    document, err = read(capfd)
    assert document == {"arguments": ["a=1"], "path": "runs/r", "none": None, "more": [1, 2]}
    assert sorted(err.splitlines()) == ["for people", "of C code", "of another process"]


def test_without_json_only_what_is_json_in_any_case_is_printed(capfd):
    def job(_: list[str]) -> None:
        print("for people")
        answer({"a": 1})
        print_answer({"b": 2})

    assert answered(job, ["json=false"]) == 0
    assert capfd.readouterr().out == 'for people\n{\n  "b": 2\n}\n'
    assert answered(job, ["json=true"]) == 0
    assert read(capfd)[0] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        (InputError("bad key"), 2, "input", "bad key"),
        (JobError("diverged"), 1, "job", "diverged"),
        (OSError(28, "No space left on device", "f"), 1, "job", "f: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted", "interrupted"),
        (ZeroDivisionError("by zero"), 1, "bug", "ZeroDivisionError: by zero"),
    ],
)
def test_an_error_stands_in_the_document_beside_what_was_found(capfd, error, code, kind, message):
    def job(_: list[str]) -> None:
        answer({"found": 1})
        raise error

    assert answered(job, ["--json"]) == code
    document, err = read(capfd)
    told = {"kind": kind, "message": message, "exit_code": code}
    assert document == {"found": 1, "error": told}
    assert message in err
    assert ("Traceback" in err) is (kind == "bug")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ([], False)),
        (["--json", "a=1"], (["a=1"], True)),
        (["a=1", "json=true"], (["a=1"], True)),
        (["json=false"], ([], False)),
        (["json=maybe"], (["json=maybe"], False)),
    ],
)
def test_the_wish_for_json_is_no_setting(arguments, expected):
    assert split_off(arguments) == expected


def test_anything_else_is_refused():
    with pytest.raises(InputError, match="json: must be true or false, got 'maybe'"):
        parse_arguments(["json=maybe"])


def test_outside_nothing_is_kept_and_stdout_is_as_it_was(capfd):
    with collected() as inner:
        answer({"a": 1})
    answer({"b": 2})
    print("seen")
    assert inner == {"a": 1}
    assert capfd.readouterr().out == "seen\n"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_every_letter_is_json_on_any_terminal(encoding):
    code = "from detector.config.cli import answered; from detector.config.answer import answer\n"
    code += "answered(lambda _: answer({'영수증': 'é \\udc80'}), ['--json'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        check=True,
    )
    text = done.stdout.decode(encoding)
    assert json.loads(text) == {"영수증": "é \udc80"}
    assert ("영수증" in text) is (encoding == "utf-8")


def test_what_is_no_plain_value_has_a_plain_one():
    found = json.loads(as_json({"a": {1: {2.5}}, "b": float("inf")}))
    assert found == {"a": {"1": [2.5]}, "b": None}
