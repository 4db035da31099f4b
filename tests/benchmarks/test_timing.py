from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from detector.core.errors import InputError

FOLDER = Path(__file__).parents[2] / "benchmarks"
_spec = importlib.util.spec_from_file_location("timing", FOLDER / "timing.py")
assert _spec is not None
assert _spec.loader is not None
timing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(timing)

DEFAULTS = {"words": 54, "data": None, "backbone": "resnet18", "within": 0.002}


def test_options_take_the_type_of_their_default():
    given = ["words=3", "data=some/folder", "backbone=7", "within=1e-3"]
    found = timing.options(given, DEFAULTS)
    assert found == {"words": 3, "data": "some/folder", "backbone": "7", "within": 0.001}
    assert timing.options([], DEFAULTS) == DEFAULTS
    assert DEFAULTS["words"] == 54


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("word=3", "word: no such option; there are words, data, backbone, within"),
        ("words=many", "words: must be a whole number from 1, got 'many'"),
        ("words=0", "words: must be a whole number from 1, got '0'"),
        ("words=1.5", "words: must be a whole number from 1, got '1.5'"),
        ("within=near", "within: must be a number, got 'near'"),
        ("words", "'words': arguments are key=value"),
    ],
)
def test_a_wrong_option_is_named(argument: str, message: str):
    with pytest.raises(InputError) as caught:
        timing.options([argument], DEFAULTS)
    assert str(caught.value).startswith(message)


def test_calls_take_turns_and_the_fastest_turn_counts():
    now, order = 0.0, []
    costs = {"a": iter([3.0, 1.0, 2.0]), "b": iter([5.0, 6.0, 4.0])}

    def call(name: str) -> None:
        nonlocal now
        order.append(name)
        now += next(costs[name])

    best = timing.best_times([lambda: call("a"), lambda: call("b")], 3, lambda: now)
    assert best == [1.0, 4.0]
    assert order == ["a", "b"] * 3


def test_a_benchmark_answers_a_wrong_option_with_one_line():
    command = [sys.executable, "benchmarks/bench_postprocess.py", "round=3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: round: no such option; there are words, side, rounds\n"
