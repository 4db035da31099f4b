"""Which tests run, seen from outside: a small suite with the plugin of tests/support."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from selection import LONG

SUITE = """
import os
import pytest
from examples import examples
from hypothesis import given, strategies as st

def test_quick():
    pass

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.docs
@pytest.mark.parametrize("page", "ab")
def test_docs(page):
    pass

drawn = []

@examples(50)
@given(st.integers())
def test_numbers(number):
    drawn.append(number)

def test_how_many_were_drawn():
    print("DREW", len(drawn))
"""
WHERE = """
import os
from pathlib import Path
import pytest

def note(kind):
    with Path(f"{kind}.txt").open("a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)

@pytest.mark.parametrize("number", range(4))
def test_where(number):
    KIND
"""
LEFT_OUT = (
    "left out, since they take long: 1 slow, 2 docs\n"
    "run everything with `python -m pytest --all`, one kind with `-m NAME`\n"
)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\naddopts = -p selection\n")
    return tmp_path


def ran(suite: Path, *arguments: str) -> str:
    """What pytest prints; it must pass."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=suite,
        env=kept | {"PYTHONPATH": str(Path(__file__).parent / "support")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("side_by_side", [(), ("-n2",)])
def test_long_tests_are_left_out_and_the_last_lines_say_how_to_run_them(suite, side_by_side):
    said = ran(suite, *side_by_side)
    before, found, after = said.partition(LEFT_OUT)
    assert found, said
    assert "passed" not in before
    assert after.startswith("3 passed")
    assert after.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--all",), ("tests",), ("tests/test_suite.py", "-n2")])
def test_all_run_when_asked_for_or_when_a_path_is_named(suite, arguments):
    said = ran(suite, *arguments)
    assert "6 passed" in said
    assert "left out" not in said


def test_an_expression_chooses_among_all(suite):
    assert "2 passed, 4 deselected" in ran(suite, "-m", "docs")


def test_property_tests_draw_a_fifth_by_default(suite):
    counts = [
        int(ran(suite, "-s", *more).partition("DREW ")[2].split()[0]) for more in ((), ("--all",))
    ]
    assert counts == [10, 50]


def test_a_file_is_one_process_and_all_with_a_ray_but_documented_commands_are_too(suite):
    alone = {"a": "", "b": "", "e": "@pytest.mark.docs"}
    together = {"c": "@pytest.mark.ray", "d": "@pytest.mark.faults"}
    for name, mark in (alone | together).items():
        kind = "ray" if name in together else name
        text = WHERE.replace("KIND", f'note("{kind}")').replace("@", f"{mark}\n@", 1)
        (suite / f"tests/test_{name}.py").write_text(text)
    ran(suite, "-n2", "--all")
    where = {p.stem: p.read_text().split() for p in suite.glob("*.txt")}
    counts = {kind: len(workers) for kind, workers in where.items()}
    assert counts == {"ray": 8, "a": 4, "b": 4, "e": 4}
    assert [kind for kind, workers in where.items() if len(set(workers)) > 1] == []
    assert {worker for workers in where.values() for worker in workers} == {"gw0", "gw1"}


def test_each_long_kind_is_explained_to_contributors():
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in LONG if f"| `{name}` |" not in text] == []
