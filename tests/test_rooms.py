"""The house: a package's rooms, what each may use, and what may lie at the top.

A folder is a room. Imports go down: a module uses its own room and those on lower floors, and
what its room's docstring says it uses.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the lowest to the highest; rooms of one floor do not know each other.
FLOORS = (
    ("trials", "store"),
    ("config",),
    ("space",),
    ("run",),
    ("place", "results", "track"),
    ("propose",),
    ("execute", "report_page"),
    ("",),  # the commands
)
MOST_MODULES = 12
MOST_POSITIONAL = 6


@dataclass(frozen=True)
class Module:
    """A module, its room ("" at the top of the package) and the rooms that it imports from."""

    path: Path
    room: str
    tree: ast.Module
    uses: frozenset[str]


def modules_of(package: Path) -> list[Module]:
    """All modules of a package but the files that make folders packages."""
    paths = [path for path in sorted(package.rglob("*.py")) if path.name != "__init__.py"]
    return [_module(path, package) for path in paths]


def _module(path: Path, package: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [_room(name, package) for name in _imported(tree)]
    inside = frozenset(name for name in names if name is not None)
    return Module(path, _room_of(path, package), tree, inside - {_room_of(path, package)})


def _room_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package).parts
    return parts[0] if len(parts) > 1 else ""


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
    return rest[0] if rest and (package / rest[0]).is_dir() else ""


def upward(package: Path, floors: tuple[tuple[str, ...], ...] = FLOORS) -> list[str]:
    """Every import that does not lead to a lower floor."""
    floor = {room: number for number, rooms in enumerate(floors) for room in rooms}
    return [
        f"{module.path.relative_to(package)} uses {used or 'a command'}"
        for module in modules_of(package)
        for used in sorted(module.uses)
        if floor[used] >= floor[module.room]
    ]


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return modules_of(ROOT / "orchestrator")


def test_imports_go_down():
    assert upward(ROOT / "orchestrator") == []


def test_every_room_has_a_floor_and_says_what_it_is_for(modules):
    rooms = {module.room for module in modules}
    assert rooms == {room for floor in FLOORS for room in floor}
    for room in rooms - {""}:
        text = (ROOT / "orchestrator" / room / "__init__.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        assert ast.get_docstring(tree), room
        assert len(tree.body) == 1, f"{room}/__init__.py holds more than its docstring"


def test_only_commands_lie_at_the_top(modules):
    top = [module for module in modules if module.room == ""]
    assert top
    for module in top:
        assert 'if __name__ == "__main__":' in module.path.read_text(encoding="utf-8"), module.path


def test_no_room_is_crowded(modules):
    sizes = {room: sum(m.room == room for m in modules) for room in {m.room for m in modules}}
    assert {room: size for room, size in sizes.items() if size > MOST_MODULES} == {}


def test_functions_take_few_arguments_by_position(modules):
    found = {
        node.name
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if len([a for a in node.args.args if a.arg not in ("self", "cls")]) > MOST_POSITIONAL
    }
    assert not found


def test_what_to_try_next_is_decided_without_ray():
    code = "import sys; [__import__(name) for name in sys.argv[1:]]; print('ray' in sys.modules)"
    room = sorted((ROOT / "orchestrator" / "propose").glob("[!_]*.py"))
    names = [f"orchestrator.propose.{path.stem}" for path in room]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("low/a.py", "from house.high.b import x", ["low/a.py uses high"]),
        ("low/a.py", "def f():\n    import house.high.b", ["low/a.py uses high"]),
        ("low/a.py", "from house import high", ["low/a.py uses high"]),
        ("low/a.py", "from house.command import main", ["low/a.py uses a command"]),
        ("low/a.py", "from house.beside.c import x", ["low/a.py uses beside"]),
        ("high/b.py", "from house.low.a import x", []),
        ("low/a.py", "from house.low.d import x\nimport highway.low", []),
    ],
)
def test_an_import_that_goes_up_or_aside_is_found(tmp_path, file, line, expected):
    house = tmp_path / "house"
    for name in ("low/a.py", "low/d.py", "beside/c.py", "high/b.py", "command.py"):
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text("x = 1\n")
    (house / file).write_text(line + "\n")
    assert upward(house, (("low", "beside"), ("high",), ("",))) == expected
