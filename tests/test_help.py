"""`--help` of every command, held against the settings that it is made from."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from detector.config.help import help_text, keys, rule
from orchestrator.run.command_line import SearchArguments

ROOT = Path(__file__).parents[1]
UNITS = {"px": "pixels", "deg": "degrees", "gb": "GB", "ms": "milliseconds"} | {
    unit: unit for unit in ("minutes", "hours", "epochs")
}


def commands() -> dict[str, type[BaseModel]]:
    """The settings of every `python -m` module of both packages."""
    found = {}
    for path in sorted([*ROOT.glob("detector/*.py"), *ROOT.glob("orchestrator/*.py")]):
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            name = f"{path.parent.name}.{path.stem}"
            main = importlib.import_module(name).main
            found[name] = get_type_hints(main).get("settings", SearchArguments)
    return found


COMMANDS = commands()


def numbers_in(annotation: Any) -> bool:
    """Whether a value, or each of its parts, is a number."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return numbers_in(inner[0])
    if origin in (Union, UnionType, list, tuple):
        return any(numbers_in(kind) for kind in inner)
    return annotation in (int, float)


def test_every_command_is_found():
    assert {"detector.train", "detector.predict", "orchestrator.search"} <= COMMANDS.keys()
    assert len(COMMANDS) >= 12
    assert [name for name, own in COMMANDS.items() if own is SearchArguments] == [
        "orchestrator.preflight",
        "orchestrator.search",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_has_its_meaning_default_range_and_unit(command: str):
    settings = COMMANDS[command]
    page = help_text(settings, program=f"python -m {command}", description="x", width=10_000)
    lines = page.splitlines()
    for key, info in keys(settings):
        place = next(i for i, line in enumerate(lines) if line.startswith(f"  {key}="))
        assert lines[place] != f"  {key}=", "a default is shown"
        note = lines[place + 1]
        assert info.description, f"{key} says what it is"
        assert info.description in note
        if numbers_in(info.annotation):
            assert re.search(r"<=? value|value <=?", note), f"{key} says its range"
        for word, unit in UNITS.items():
            if re.search(rf"(^|[._]){word}$", key):
                assert unit in note, f"{key} says its unit"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_wider_than_the_terminal(command: str, width: int):
    text = help_text(COMMANDS[command], program=command, description="x " * 60, width=width)
    assert max(map(len, text.splitlines())) <= width


def test_rules_are_those_of_the_settings():
    rules = {key: rule(key, info) for key, info in keys(SearchArguments)}
    assert rules["optimizer.lr"] == "0 < value <= 1"
    assert rules["data.longest_side_px"] == "64 <= value <= 8192, pixels"
    assert rules["preprocess.tile_px"] == "0 <= value <= 8192, a multiple of 32, pixels"
    assert rules["budget.minutes"] == "0 < value, minutes"
    assert rules["search.postprocess"] == "one of nested | joint"
    assert rules["sweep.box_thresh"] == "each 0 <= value <= 1"
    assert rules["sweep.shape"] == "each one of quad | polygon"
    assert rules["resume"] == "true or false or auto"
    assert rules["dry_run"] == "true or false"
    assert rules["data.root"] == ""


def test_keys_are_shown_as_they_are_typed():
    """`from` is no name for Python, so that field has another."""
    assert {"from"} <= {key for key, _ in keys(COMMANDS["detector.train"])}
