"""Files from anyone, of a size that memory takes, as plain values: no objects, no aliases."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from detector.errors import InputError

#: Bytes of a settings file at most: PyYAML takes seconds for a megabyte.
YAML_BYTES = 1_000_000
#: Bytes of a JSON file at most; reading takes about five times its size in memory.
JSON_BYTES = 256 * 2**20
# No setting is larger, and Python refuses to write numbers of thousands of digits.
_MOST_BITS = 1024


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


class PlainLoader(yaml.SafeLoader):
    """Plain values only. `*aliases` are refused: nine lines of them can stand for a billion."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read; repeat the value", problem_mark=mark
            )
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        value = super().construct_object(node, deep)
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise yaml.constructor.ConstructorError(
                problem="a number of hundreds of digits", problem_mark=node.start_mark
            )
        return value


def parse_yaml(text: str, place: str, *, lines: bool = True) -> Any:
    """The plain value that a YAML text stands for; InputError, said to be at `place`.

    Without `lines`, as for a text of one line, the message leaves out the number of the line.
    """
    with yaml_faults(place, lines=lines):
        return yaml.load(text, Loader=PlainLoader)


@contextmanager
def yaml_faults(place: str, *, lines: bool = True) -> Iterator[None]:
    """Everything that reading YAML raises as InputError, with the line where it is known."""
    try:
        yield
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if lines and error.problem_mark else ""
        raise InputError(f"{place}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{place}: not valid YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{place}: not valid YAML: its values are nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # What PyYAML's constructors raise for `!!int x`, `!!bool x` or `2024-99-99`.
        raise InputError(f"{place}: not valid YAML: a value of the wrong form ({error})") from None


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
