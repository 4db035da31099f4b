"""Hostile documents: valid ones with a few things changed, as values and as bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

# Written into a JSON or YAML text in the place of these texts, since no Python value is these.
RAW = {"@endless@": "9" * 5000, "@beyond@": "1e400", "@deep@": "[" * 3000, "@closed@": "[]]"}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


_TEXTS = st.sampled_from(
    [
        *("", "a.jpg", "../a.jpg", "/etc/passwd", "a\0.jpg", "CON", "=1+1", "\x1b[31m", "<b>"),
        *("\u202e", "e\u0301", "\ud800", "\U0010ffff", "###", "none", "1e9", "x" * 2000, *RAW),
    ]
)
_NUMBERS = st.sampled_from(
    [
        *(0, -1, 1, 3.5, -0.0, 1e-320, 1e308, 2**31, 2**63, -(2**64), 10**400),
        *(float("inf"), float("-inf"), float("nan")),
    ]
)
_OTHERS = st.builds(
    copy.deepcopy,
    st.sampled_from([None, True, False, [], {}, [[]], {"": {}}, [None, 1, "a"], _nested(60)]),
)
ODD = _TEXTS | _NUMBERS | _OTHERS | st.text(max_size=12) | st.integers() | st.floats()

Place = tuple[Any, Any]  # a container, and the key or index in it


def _places(value: Any) -> list[Place]:
    found: list[Place] = []
    pending = [value]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], (dict, list)):
                pending.append(node[key])
    return found


def _change(draw: st.DrawFn, document: Any) -> None:
    """One thing dropped, replaced, renamed, wrapped, repeated or exchanged, in place."""
    places = _places(document)
    if not places:
        return
    node, key = draw(st.sampled_from(places))
    way = draw(st.sampled_from(["drop", "odd", "odd", "odd", "rename", "wrap", "swap", "repeat"]))
    if way == "drop":
        del node[key]
    elif way == "odd":
        node[key] = draw(ODD)
    elif way == "rename" and isinstance(node, dict):
        node[draw(_TEXTS | st.text(max_size=8))] = node.pop(key)
    elif way == "wrap":
        node[key] = draw(st.sampled_from([[node[key]], {"x": node[key]}]))
    elif way == "swap":
        other, place = draw(st.sampled_from(places))
        node[key] = copy.deepcopy(other[place])
    elif way == "repeat" and isinstance(node, list):
        node[key:key] = [copy.deepcopy(node[key]) for _ in range(draw(st.integers(1, 40)))]


@st.composite
def changed(draw: st.DrawFn, documents: list[Any]) -> Any:
    """One of the documents with up to four changes."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, 4))):
        _change(draw, document)
    return document


@st.composite
def damaged(draw: st.DrawFn, content: bytes, pieces: tuple[bytes, ...] = ()) -> bytes:
    """The bytes as they are, or with up to three of them or of their spans changed."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 20)))
        way = draw(st.sampled_from(["put", "put", "cut", "end", "again"]))
        if way == "put":
            piece = draw(st.sampled_from(pieces)) if pieces else b""
            piece = draw(st.binary(max_size=4)) if draw(st.booleans()) else piece
            content = content[:at] + piece + content[draw(st.sampled_from([at, end])) :]
        elif way == "cut":
            content = content[:at] + content[end:]
        elif way == "end":
            content = content[:at]
        else:
            content = content[:end] + content[at:]
    return content


def as_json(value: Any) -> str:
    """JSON with what Python's own writer would not write."""
    return with_raw(json.dumps(value, ensure_ascii=False))


def with_raw(text: str, quoted: Callable[[str], str] = lambda name: f'"{name}"') -> str:
    """`text` with each name of RAW, in quotes, replaced by what it stands for."""
    for name, raw in RAW.items():
        text = text.replace(quoted(name), raw)
    return text


def as_bytes(text: str) -> bytes:
    """UTF-8, but for lone surrogates, which become bytes that are not."""
    return text.encode("utf-8", "surrogatepass")
