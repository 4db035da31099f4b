"""The machine of the tests' Ray asked for real; for two, see tests/faults/test_preflight.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detector.core.errors import InputError
from orchestrator.machines import ask
from orchestrator.machines.ask import machine_names, require_alike
from orchestrator.machines.exchange import InFolder
from orchestrator.machines.look import files_in, own_versions
from orchestrator.machines.rules import Own


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"123")
    return folder


@pytest.fixture
def own(tmp_path: Path, data: Path) -> Own:
    return Own(own_versions(), files_in(data), data, str(tmp_path / "runs"), loaders=False)


@pytest.mark.usefixtures("ray_cluster")
def test_a_machine_answers_from_a_process_of_its_own(own: Own, tmp_path: Path):
    (answer,) = ask.ask(InFolder(tmp_path / "runs"), own.data, patience_s=60)
    assert answer.machine is not None
    assert answer.machine.versions == own.versions
    assert answer.machine.files == own.files
    assert answer.heard
    assert answer.told_gpus == 1  # on paper
    assert answer.asked <= answer.machine.ended <= answer.received
    assert [*(tmp_path / "runs").iterdir()] == []


@pytest.mark.usefixtures("ray_cluster")
def test_faults_of_all_kinds_are_told_at_once(own: Own, data: Path, tmp_path: Path):
    other = replace(own, versions=own.versions | {"torch": "0.1"})
    (data / "b.jpg").write_bytes(b"new since the search looked")
    with pytest.raises(InputError) as told:
        require_alike(other, InFolder(tmp_path / "runs"), patience_s=60)
    lines = str(told.value).splitlines()
    assert len(lines) == 3
    assert "torch" in lines[0]
    assert "but 0.1 on the machine of the search" in lines[0]
    assert "Ray was told of 1 GPUs, and torch sees 0" in lines[1]
    assert "holds 2 files, not 1, unlike that of the search" in lines[2]


@pytest.mark.usefixtures("ray_cluster")
def test_one_that_does_not_answer_in_time_is_named(own: Own, tmp_path: Path):
    (answer,) = ask.ask(InFolder(tmp_path / "runs"), own.data, patience_s=0.0)
    assert answer.machine is None
    assert answer.reason.startswith("no answer within 0 s")


def test_machines_are_called_by_their_address_and_where_needed_by_more():
    nodes: list[dict[str, Any]] = [
        {"NodeID": "aaaaaaaa1", "NodeManagerAddress": "10.0.0.1"},
        {"NodeID": "bbbbbbbb2", "NodeManagerAddress": "10.0.0.2"},
        {"NodeID": "cccccccc3", "NodeManagerAddress": "10.0.0.2"},
    ]
    assert list(machine_names(nodes).values()) == [
        "10.0.0.1",
        "10.0.0.2 (bbbbbb)",
        "10.0.0.2 (cccccc)",
    ]
