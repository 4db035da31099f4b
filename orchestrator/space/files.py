"""Finding a search space's YAML file and reading it with the line of every key."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.core.files import expand_home
from detector.core.plain import YAML_BYTES, KeyPath, parse_lines, read_bounded

LOCAL_FOLDER = Path("search_spaces")


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

    def at(self, *path: str) -> dict[str, Any]:
        """The mapping below some keys; empty where there is none."""
        value: Any = self.content
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}


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
    path = folder / expand_home(ref)
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
    content, lines = parse_lines(text, str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold `key: value` lines; see a shipped space")
    return SpaceFile(path, content, lines)


def meant(key: str, names: Iterable[str]) -> str:
    """The hint for a key that is not among the names: those close to it, or all of them."""
    near = get_close_matches(key, names := list(names), n=2, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(names)}"
