"""Finding a search space's YAML file and reading it with the line of every key.

YAML is read by version 1.2 rules: `1e-3` is a number and `off`, `no`, `yes` are text
(PyYAML's 1.1 rules would search the text "1e-3" and turn `amp: off` into False).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from detector.errors import InputError
from detector.plain import YAML_BYTES, PlainLoader, read_bounded, yaml_faults

LOCAL_FOLDER = Path("search_spaces")
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class SpaceFile:
    """The plain content of a file, and the line of each value by its path of keys."""

    path: Path
    content: dict[str, Any]
    lines: dict[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        """`file:line` of the value at a path, or of the nearest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines.get(path, 1)}"


def available_spaces() -> dict[str, Path]:
    """Files by space name: the installed `search_spaces`, then those of ./search_spaces."""
    package = Path(str(resources.files("search_spaces")))
    found = [*sorted(package.glob("*.yaml")), *sorted(LOCAL_FOLDER.glob("*.yaml"))]
    return {path.stem: path for path in found}


def find_space(ref: str, *, folder: Path = Path(), place: str = "space") -> Path:
    """The file of a space's name, or of a path that starts at `folder`.

    InputError, said to stand at `place`, lists the names when there is none.
    """
    spaces = available_spaces()
    if ref in spaces:
        return spaces[ref]
    path = folder / ref
    with suppress(OSError):  # a name longer than any file's
        if path.is_file():
            return path
    near = get_close_matches(ref, spaces, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"{place}: no space or file called {ref!r}; {hint}"
        f"available: {', '.join(sorted(spaces))}, or the path of a YAML file"
    )


def read_space_file(path: Path) -> SpaceFile:
    """A file's content with its lines; InputError for what is not one plain YAML mapping."""
    try:
        text = read_bounded(path, YAML_BYTES).decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: must be UTF-8 text: {error.reason}") from None
    with yaml_faults(str(path)):
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{path}: must hold `key: value` lines; see a shipped space")
        lines: dict[KeyPath, int] = {(): 1}
        faults = [f"{path}:{line}: {fault}" for line, fault in _walk(node, (), lines)]
        if faults:
            raise InputError("\n".join(faults))
        return SpaceFile(path, loader.construct_document(node), lines)


class _Loader(PlainLoader):
    """Plain values by YAML 1.2's core rules."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own name)


_RULES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)
for _tag, _pattern, _first in _RULES:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _walk(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Iterator[tuple[int, str]]:
    """Fill `lines` below a node; yields (line, fault) for keys given twice or not text."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            yield from _walk(item, (*path, index), lines)
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            yield line, "a key must be plain text"
            continue
        child = (*path, key_node.value)
        if child in lines:
            yield line, f"{key_node.value}: given twice (first in line {lines[child]}); keep one"
        lines[child] = line
        yield from _walk(value, child, lines)
