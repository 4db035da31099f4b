"""The house: which room may use which, what may lie at the top, and its picture in docs/."""

from __future__ import annotations

import ast
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from house import COMMANDS, HOUSES, ORCHESTRATOR, House, Module, folder_of, modules_of, upward
from house_picture import COMMAND, drawn, picture_of

SMALL = (("low", "beside"), ("high",), (COMMANDS,))
SVG = "{http://www.w3.org/2000/svg}"
MOST_MODULES = 12
MOST_POSITIONAL = 6


@pytest.fixture(scope="module", params=HOUSES, ids=lambda house: house.package.name)
def own(request) -> House:
    return request.param


@pytest.fixture(scope="module")
def modules(own) -> list[Module]:
    return modules_of(own.package)


def test_imports_go_down(own):
    assert upward(own) == []


def test_every_room_has_a_floor_and_says_what_it_is_for(own, modules):
    rooms = {module.room for module in modules}
    assert rooms == {room for floor in own.floors for room in floor}
    for room in rooms - {COMMANDS}:
        text = (folder_of(own.package, room) / "__init__.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        assert ast.get_docstring(tree), room
        assert len(tree.body) == 1, f"{room}/__init__.py holds more than its docstring"


def test_only_commands_lie_at_the_top(modules):
    top = [module for module in modules if module.room == COMMANDS]
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
    room = sorted((ORCHESTRATOR.package / "propose").glob("[!_]*.py"))
    names = [f"orchestrator.propose.{path.stem}" for path in room]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_the_picture_is_that_of_the_code(own):
    picture = picture_of(own)
    assert picture.read_text(encoding="utf-8") == drawn(own), f"{picture} is old; {COMMAND}"


@pytest.fixture
def house(tmp_path) -> House:
    """Of four rooms with five modules."""
    house = tmp_path / "house"
    for name in ("low/a.py", "low/d.py", "beside/c.py", "high/b.py", "command.py"):
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text("x = 1\n")
    return House(house, SMALL)


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
def test_an_import_that_goes_up_or_aside_is_found(house, file, line, expected):
    (house.package / file).write_text(line + "\n")
    assert upward(house) == expected


def test_a_way_down_and_a_purpose_are_drawn(house):
    for room in ("low", "beside", "high", "."):
        (house.package / room / "__init__.py").write_text(
            f'"""What <{room}> is\nfor.\n\nMore."""\n'
        )
    before = drawn(house)
    assert before == drawn(house)
    assert "What &lt;high&gt; is for." in before
    assert "More" not in before
    assert before.count("<circle") == 0
    (house.package / "high/b.py").write_text(
        "from house.low.a import x\nfrom house.low.d import x\n"
    )
    (house.package / "command.py").write_text(
        "from house.low.d import x\nfrom house.high import b\n"
    )
    after = drawn(house)
    assert after.count("<circle") == 3
    xml = ElementTree.fromstring(after)
    tops = {n.text: float(n.get("y")) for n in xml.iter(f"{SVG}text") if n.get("class") == "name"}
    assert sorted(tops, key=tops.get) == ["commands", "high", "low", "beside"]


def test_a_purpose_that_its_box_cannot_hold_is_told(house):
    for room in ("low", "beside", "high", "."):
        (house.package / room / "__init__.py").write_text(
            '"""' + "word " * (50 if room == "low" else 1) + '"""'
        )
    with pytest.raises(ValueError, match=r"low/__init__.py: .* more than two lines"):
        drawn(house)
