"""Hostile documents: valid ones with a few things changed, as values and as bytes."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from xml.dom import minidom
from xml.sax.saxutils import escape, quoteattr

from detector.core.errors import InputError

# Written into a JSON or YAML text in the place of these texts, since no Python value is these.
RAW = {"@endless@": "9" * 5000, "@beyond@": "1e400", "@deep@": "[" * 3000, "@closed@": "[]]"}

_MOST_CHARACTERS = 20_000  # of a message


@dataclass(frozen=True)
class Target:
    """A reader: `make` makes what `read` is given; messages have one of `names` in them."""

    make: Callable[[Random], Any]
    read: Callable[[Any], None]
    names: tuple[str, ...]


def require_clean(error: InputError, names: tuple[str, ...]) -> None:
    """AssertionError unless a message is of bounded length and has one of the names in it."""
    named = any(name in str(error) for name in names)
    assert named, f"a message without the file: {error!r:.300}"
    assert len(str(error)) < _MOST_CHARACTERS, f"an endless message: {error!r:.300}"


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


_TEXTS = (
    *("", "a.jpg", "../a.jpg", "/etc/passwd", "a\0.jpg", "CON", "=1+1", "\x1b[31m", "<b>", "1,5"),
    *("\u202e", "e\u0301", "\ud800", "\U0010ffff", "###", "none", "1e9", "x" * 2000, *RAW),
)
_NUMBERS = (
    *(0, -1, 1, 3.5, -0.0, 1e-320, 1e308, 2**31, 2**63, -(2**64), 10**400),
    *(float("inf"), float("-inf"), float("nan")),
)
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"": {}}, [None, 1, "a"], _nested(60))
# First and last of the characters that random texts are made of.
_RANGES = ((0, 0x7F), (0x20, 0x7E), (0xA0, 0x24F), (0xAC00, 0xD7A3), (0, 0x10FFFF))


def odd(rng: Random) -> Any:
    """A value that hardly belongs there."""
    ways: tuple[Callable[[], Any], ...] = (
        lambda: rng.choice(_TEXTS),
        lambda: rng.choice(_NUMBERS),
        lambda: copy.deepcopy(rng.choice(_OTHERS)),
        lambda: odd_text(rng, 12),
        lambda: rng.randint(-300, 300),
        lambda: rng.uniform(-300, 300),
        lambda: struct.unpack("<d", rng.randbytes(8))[0],
    )
    return rng.choice(ways)()


def odd_text(rng: Random, longest: int) -> str:
    """Random characters of one kind."""
    first, last = rng.choice(_RANGES)
    return "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(0, longest)))


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


def _change(rng: Random, document: Any) -> None:
    """One thing dropped, replaced, renamed, wrapped, repeated or exchanged, in place."""
    places = _places(document)
    if not places:
        return
    node, key = rng.choice(places)
    way = rng.choice(["drop", "odd", "odd", "odd", "rename", "wrap", "swap", "repeat"])
    if way == "drop":
        del node[key]
    elif way == "odd":
        node[key] = odd(rng)
    elif way == "rename" and isinstance(node, dict):
        node[rng.choice([rng.choice(_TEXTS), odd_text(rng, 8)])] = node.pop(key)
    elif way == "wrap":
        node[key] = rng.choice([[node[key]], {"x": node[key]}])
    elif way == "swap":
        other, place = rng.choice(places)
        node[key] = copy.deepcopy(other[place])
    elif way == "repeat" and isinstance(node, list):
        node[key:key] = [copy.deepcopy(node[key]) for _ in range(rng.randint(1, 40))]


def changed(rng: Random, documents: Sequence[Any]) -> Any:
    """One of the documents with up to four changes."""
    document = copy.deepcopy(rng.choice(documents))
    for _ in range(rng.randint(0, 4)):
        _change(rng, document)
    return document


def damaged(rng: Random, content: bytes, pieces: tuple[bytes, ...] = ()) -> bytes:
    """The bytes as they are, or with up to three of them or of their spans changed."""
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        at = rng.randint(0, len(content))
        end = min(len(content), at + rng.randint(0, 20))
        way = rng.choice(["put", "put", "cut", "end", "again"])
        if way == "put":
            piece = rng.choice([rng.choice(pieces or [b""]), rng.randbytes(rng.randint(0, 4))])
            content = content[:at] + piece + content[rng.choice([at, end]) :]
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


def xml_tree(text: str) -> list[Any]:
    """An XML text as lists that `changed` changes: tag, attributes, then texts and elements."""
    return _tree(minidom.parseString(text.encode()).documentElement)


def _tree(node: Any) -> list[Any]:
    inner = [
        _tree(child) if child.nodeType == child.ELEMENT_NODE else child.data
        for child in node.childNodes
    ]
    return [node.tagName, dict(node.attributes.items()), *inner]


def as_xml(node: Any) -> str:
    """The text of such lists, whatever they were changed into."""
    if node == "@deep@":
        return "<a>" * 5000 + "</a>" * 5000
    if not isinstance(node, list):
        return escape(_plain(node))
    tag, more, *inner = [*node, "", ""][: max(2, len(node))]
    if isinstance(tag, list):  # elements without one around them
        return "".join(map(as_xml, node))
    if not isinstance(more, dict):
        more, inner = {}, [more, *inner]
    attributes = "".join(f" {key}={quoteattr(_plain(value))}" for key, value in more.items())
    name = _plain(tag)
    return f"<{name}{attributes}>{''.join(map(as_xml, inner))}</{name}>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)
