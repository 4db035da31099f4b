"""The house, read from the code: a package's rooms, their floors, and what each imports from.

A folder is a room; what lies at the top of the package are the commands. Imports go down.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "orchestrator"
COMMANDS = ""  # the room of what lies at the top
# From the lowest to the highest; rooms of one floor do not know each other.
FLOORS = (
    ("trials", "store"),
    ("config",),
    ("space",),
    ("run",),
    ("place", "results", "track"),
    ("propose",),
    ("execute", "report_page"),
    (COMMANDS,),
)


@dataclass(frozen=True)
class Module:
    """A module, its room and the rooms that it imports from."""

    path: Path
    room: str
    tree: ast.Module
    uses: frozenset[str]


def modules_of(package: Path) -> list[Module]:
    """All modules of a package but the files that make folders packages."""
    paths = [path for path in sorted(package.rglob("*.py")) if path.name != "__init__.py"]
    return [_module(path, package) for path in paths]


def upward(package: Path, floors: tuple[tuple[str, ...], ...] = FLOORS) -> list[str]:
    """Every import that does not lead to a lower floor."""
    floor = {room: number for number, rooms in enumerate(floors) for room in rooms}
    return [
        f"{module.path.relative_to(package)} uses {used or 'a command'}"
        for module in modules_of(package)
        for used in sorted(module.uses)
        if floor[used] >= floor[module.room]
    ]


def ways(modules: list[Module]) -> set[tuple[str, str]]:
    """Pairs of a room and one that it imports from."""
    return {(module.room, used) for module in modules for used in module.uses}


def purpose(package: Path, room: str) -> str:
    """The first paragraph of a room's docstring as one line."""
    text = (package / room / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def _module(path: Path, package: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [_room(name, package) for name in _imported(tree)]
    inside = frozenset(name for name in names if name is not None)
    return Module(path, _room_of(path, package), tree, inside - {_room_of(path, package)})


def _room_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package).parts
    return parts[0] if len(parts) > 1 else COMMANDS


def _imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of everything that is imported anywhere in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import relative to a module hides where it leads"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(name: str, package: Path) -> str | None:
    """The room that an imported name lies in; None for what is not of this package."""
    first, *rest = name.split(".")
    if first != package.name:
        return None
    return rest[0] if rest and (package / rest[0]).is_dir() else COMMANDS
