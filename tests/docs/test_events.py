"""docs/events.md: its table is that of the schema, and its examples do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doc_markdown import ROOT, split_fences

from orchestrator.events.file import NAME, EventFile
from orchestrator.events.kinds import ANY, Epoch, decision
from orchestrator.trials.records import TrialRecord, TrialState

PAGE = ROOT / "docs/events.md"
COMMON = ("time", "version", "kind")
EXPLAINED = ("trial", "seed", "record")  # below the table


def table() -> Iterator[str]:
    """A row for each kind of event, from the schema."""
    schema = ANY.json_schema()
    for reference in schema["oneOf"]:
        kind = schema["$defs"][reference["$ref"].rpartition("/")[2]]
        own = kind["properties"]["kind"]
        names = ", ".join(f"`{name}`" for name in own.get("enum", [own.get("const")]))
        what = kind["description"].partition("\n")[0].rstrip(".")
        fields = [_field(k, v) for k, v in kind["properties"].items() if k not in COMMON]
        yield f"| {names} | {what} | {'; '.join(fields)} |"


def _field(name: str, schema: dict[str, Any]) -> str:
    """A field with `?` where it may be null, its values and what it means."""
    nullable = {"type": "null"} in schema.get("anyOf", [])
    meaning = "" if name in EXPLAINED else schema.get("description", "")
    notes = [", ".join(schema.get("enum", [])), meaning]
    noted = "; ".join(filter(None, notes))
    return f"`{name}`{'?' if nullable else ''}" + (f" ({noted})" if noted else "")


def test_the_table_is_that_of_the_schema() -> None:
    rows = "\n".join(table())
    assert rows in PAGE.read_text(encoding="utf-8"), f"its rows should be\n{rows}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a run that has told of two epochs and of how two trials ended."""
    run = tmp_path / "runs/first"
    run.mkdir(parents=True)
    file = EventFile(run, print)
    for trial, hmean in (("00000", 0.5), ("00001", 0.25), ("00001", 0.75)):
        epoch = Epoch(trial=trial, epoch=1, epochs=4, hmean=hmean, best_hmean=hmean, seconds=1.0)
        file.append(epoch)
    with (run / NAME).open("a") as torn:
        torn.write('{"time": ')
    failed = TrialRecord("00000", TrialState.FAILED, reason="it broke")
    file.append(decision(failed, "failed", "it broke"))
    stopped = TrialRecord("00001", TrialState.STOPPED, reason="hopeless: it learns nothing")
    file.append(decision(stopped, "given_up", stopped.reason))
    return tmp_path


def example(language: str, start: str) -> str:
    blocks = split_fences(PAGE.read_text(encoding="utf-8"))[1]
    texts = ["\n".join(block.lines) for block in blocks if block.language == language]
    (found,) = [text for text in texts if text.startswith(start)]
    return found


def test_the_example_in_python(folder: Path) -> None:
    code = example("python", "import json")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "after 1 epochs: 0.5000 (trial 00000)",
        "after 3 epochs: 0.7500 (trial 00001)",
    ]


def test_the_example_for_jq(folder: Path) -> None:
    if not any(os.access(Path(place) / "jq", os.X_OK) for place in os.get_exec_path()):
        pytest.skip("jq is not installed")
    done = subprocess.run(
        ["/bin/bash", "-c", example("sh", "jq ")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "00000 it broke",
        "00001 hopeless: it learns nothing",
    ]
