"""What a command found, for programs: with --json one JSON document on stdout, and nothing else.

A command says what it found by `answer`, beside what it prints for people. That is kept until its
end, so that an error can stand in the same document: whoever reads it needs to look in one place.
Exit codes are the same with and without.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from enum import Enum
from pathlib import Path
from typing import Any

FLAG = "--json"
NOTE = (
    "--json, or json=true: one JSON object on stdout and everything else on stderr; what failed is "
    'its "error", with kind (input, job, interrupted or bug), message and exit_code'
)
_document: ContextVar[dict[str, Any] | None] = ContextVar("document", default=None)


def split_off(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without --json, json=true and json=false, and whether JSON is asked for."""
    asks = {FLAG: True, "json=true": True, "json=false": False}
    rest = [argument for argument in arguments if argument not in asks]
    return rest, any(asks.get(argument, False) for argument in arguments)


def answer(found: Mapping[str, Any]) -> None:
    """Add to what a program is told, if one asks."""
    document = _document.get()
    if document is not None:
        document.update(found)


def print_answer(found: Mapping[str, Any]) -> None:
    """`answer` of a command whose output is JSON in any case."""
    if _document.get() is None:
        print(as_json(found))
    else:
        answer(found)


def answer_error(kind: str, message: str, code: int) -> None:
    """Say why there is no answer, or none that is whole."""
    answer({"error": {"kind": kind, "message": message, "exit_code": code}})


@contextmanager
def collected() -> Iterator[dict[str, Any]]:
    """What is answered in the block; all that it prints, or others do for it, goes to stderr."""
    document: dict[str, Any] = {}
    token = _document.set(document)
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)  # C libraries and other processes know no sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield document
    finally:
        os.dup2(own, 1)
        os.close(own)
        _document.reset(token)


def as_json(found: Mapping[str, Any]) -> str:
    """Indented JSON, of which any terminal can show every letter; what is no number is null."""
    shows_all = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return json.dumps(_plain(found), indent=2, ensure_ascii=not shows_all, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
