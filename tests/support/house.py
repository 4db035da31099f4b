"""The house, read from the code: a package's rooms, their floors, and what each imports from.

A folder is a room; what lies at the top of the package are the commands. Imports go down.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = ""  # the room of what lies at the top


@dataclass(frozen=True)
class House:
    """A package and its rooms (folders, dotted), from the lowest floor to the highest.

    Rooms of one floor do not know each other.
    """

    package: Path
    floors: tuple[tuple[str, ...], ...]


ORCHESTRATOR = House(
    ROOT / "orchestrator",
    (
        ("trials", "store"),
        ("config", "events"),
        ("space",),
        ("run",),
        ("place", "machines", "launch", "results", "track"),
        ("compare",),
        ("propose",),
        ("forecast", "fleet"),
        ("execute",),
        ("page_parts",),
        ("peers",),
        ("report_page", "ensembles"),
        ("packs",),
        (COMMANDS,),
    ),
)
DETECTOR = House(
    ROOT / "detector",
    (
        ("core",),
        ("config", "model", "data.page"),
        ("model.graph", "data.raw"),
        (
            "data.formats.aihub",
            "data.formats.datasets",
            "data.formats.documents",
            "data.formats.services",
            "data.formats.text",
            "data.formats.tools",
        ),
        ("data.labels",),
        ("data.crops", "data.synthetic", "metrics"),
        ("postprocess",),
        ("inference",),
        ("review", "training.storage", "training.distributed"),
        ("training.validation",),
        ("training",),
        (COMMANDS,),
    ),
)
HOUSES = (DETECTOR, ORCHESTRATOR)


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


def upward(house: House) -> list[str]:
    """Every import that does not lead to a lower floor."""
    floor = {room: number for number, rooms in enumerate(house.floors) for room in rooms}
    return [
        f"{module.path.relative_to(house.package)} uses {used or 'a command'}"
        for module in modules_of(house.package)
        for used in sorted(module.uses)
        if floor[used] >= floor[module.room]
    ]


def ways(modules: list[Module]) -> set[tuple[str, str]]:
    """Pairs of a room and one that it imports from."""
    return {(module.room, used) for module in modules for used in module.uses}


def purpose(package: Path, room: str) -> str:
    """The first paragraph of a room's docstring as one line."""
    text = (folder_of(package, room) / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def folder_of(package: Path, room: str) -> Path:
    """The folder that a room is."""
    return package.joinpath(*filter(None, room.split(".")))


def _module(path: Path, package: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [_room(name, package) for name in _imported(tree)]
    inside = frozenset(name for name in names if name is not None)
    return Module(path, _room_of(path, package), tree, inside - {_room_of(path, package)})


def _room_of(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package).parts[:-1])


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
    while rest and not package.joinpath(*rest).is_dir():
        rest.pop()
    return ".".join(rest)
