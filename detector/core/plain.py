"""Files from anyone, of a size that memory takes, as plain values: no objects, no aliases.

YAML is version 1.2 wherever this project reads it: `1e-3` is a number, `off` and `12:30` are text.
PyYAML's own rules are 1.1, and ruamel.yaml's safe reader takes aliases and dates and tells no
lines; so PyYAML parses, and what its nodes stand for is decided here.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from detector.core.errors import InputError
from detector.core.escape import shown

#: Bytes of a settings file at most: PyYAML takes seconds for a megabyte.
YAML_BYTES = 1_000_000
#: Bytes of a JSON file at most; reading takes about five times its size in memory.
JSON_BYTES = 256 * 2**20
# No setting is larger, and Python refuses to write numbers of thousands of digits.
_MOST_DIGITS = 300
KeyPath = tuple[str | int, ...]


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes.

    Raises InputError naming the file for a larger one and for a folder, pipe or device, and
    OSError when it cannot be read.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        raise InputError(f"{path}: must be a plain file, not a pipe or device; copy its content")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(
            f"{path}: has more than {most} bytes, the most that is read; make it smaller"
        )
    return content


def parse_yaml(text: str, place: str, *, lines: bool = True) -> Any:
    """The plain value that a YAML text stands for; InputError, said to be at `place`.

    Without `lines`, as for a text of one line, the message leaves out the number of the line.
    """
    return parse_lines(text, place, lines=lines)[0]


def parse_lines(text: str, place: str, *, lines: bool = True) -> tuple[Any, dict[KeyPath, int]]:
    """The value of a YAML text, and the line of each value in it by its path of keys.

    Keys are text as it stands there. InputError as for `parse_yaml`, of a mapping's keys all at
    once.
    """
    found: dict[KeyPath, int] = {(): 1}
    try:
        node = _Loader(text).get_single_node()
        faults: list[tuple[int, str]] = []
        value = None if node is None else _value(node, (), found, faults)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        faults = [(line, f"not valid YAML: {error.problem}")]
    except yaml.YAMLError as error:
        faults = [(0, f"not valid YAML: {error}")]
    except RecursionError:
        faults = [(0, "not valid YAML: its values are nested too deeply")]
    if faults:
        told = [f"{place}:{line}" if lines and line else place for line, _ in faults]
        raise InputError("\n".join(f"{at}: {f}" for at, (_, f) in zip(told, faults, strict=True)))
    return value, found


def dump_yaml(values: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back as the same ones, and so do 1.1 readers."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _float(text: str) -> float:
    return float(text.replace(".", "") if text[-1] in "fFnN" else text)  # .inf and .nan


def _int(text: str) -> int:
    return int(text, {"o": 8, "x": 16}.get(text[1:2], 10))


# The core schema of YAML 1.2: what a word without quotes is, unless it is text.
_SCALARS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "null": (r"~|null|Null|NULL|", lambda _: None, "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text[0] in "tT", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _int, "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _float,
        "-+.0123456789",
    ),
}
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Nodes by YAML 1.2. `*aliases` are refused: nine lines of them can stand for a billion."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own name)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read; repeat the value", problem_mark=mark
            )
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes text that is something else by YAML 1.1 or by 1.2, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escapes what is no printable character: without, a next-line character is lost."""
        style = None if data.isprintable() else '"'
        return self.represent_scalar(f"{_TAG}str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)
for _name, (_pattern, _, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            _TAG + _name, re.compile(f"^(?:{_pattern})$"), [*_first, *([""] * (_name == "null"))]
        )


def _value(
    node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], faults: list[tuple[int, str]]
) -> Any:
    """What a node stands for; fills `lines` below it and collects (line, fault)."""
    line = node.start_mark.line + 1
    tag = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.ScalarNode) and (tag == "str" or tag in _SCALARS):
        return _scalar(node.value, tag, line, faults)
    if isinstance(node, yaml.SequenceNode) and tag == "seq":
        lines |= {(*path, i): item.start_mark.line + 1 for i, item in enumerate(node.value)}
        return [_value(item, (*path, i), lines, faults) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode) or tag != "map":
        faults.append((line, f"not valid YAML: could not read {node.tag}; write a plain value"))
        return None
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            faults.append((line, "a key must be plain text"))
            continue
        child = (*path, key.value)
        if key.value in mapping:
            first = f"first in line {lines[child]}"
            faults.append((line, f"{key.value}: given twice ({first}); keep one"))
        lines[child] = line
        mapping[key.value] = _value(value, child, lines, faults)
    return mapping


def _scalar(text: str, tag: str, line: int, faults: list[tuple[int, str]]) -> Any:
    if tag == "str":
        return text
    pattern, read, _ = _SCALARS[tag]
    if not re.fullmatch(pattern, text):
        faults.append((line, f"not valid YAML: {shown(text)} is no {tag}"))
    elif tag == "int" and len(text) > _MOST_DIGITS:
        faults.append((line, "not valid YAML: a number of hundreds of digits"))
    else:
        return read(text)
    return None


def parse_json(
    text: str, place: str, *, hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The value of a JSON text; InputError, said to be at `place`, with line and column."""
    try:
        return json.loads(text, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        rest = error.doc[error.pos :].strip()
        cut = not rest or error.msg.startswith("Unterminated string")
        remedy = "the file looks cut short: copy it again" if cut else "correct it there"
        raise InputError(
            f"{place}: not valid JSON at line {error.lineno}, column {error.colno}: "
            f"{error.msg}; {remedy}"
        ) from None
    except RecursionError:
        raise InputError(f"{place}: not usable JSON: nested too deeply; write it again") from None
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{place}: not usable JSON: {error}; write it again") from None
