"""Folders that cannot be written, told before Ray is started, and long ones that Ray cannot use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detector.core.errors import InputError
from orchestrator.place import preflight
from orchestrator.place.preflight import require_ready, short_folder

LONG = "/scratch/very_long_folder_of_a_batch_system/slurm_jobdir/1355700"
# The superuser of the tests may write anywhere, but nobody below a file.
NOWHERE = "/dev/null/none"


@pytest.fixture
def good(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "made" / "by_ray"), "TMPDIR": "/tmp"}


def faults(environment: dict[str, str]) -> list[str]:
    with pytest.raises(InputError) as told:
        require_ready(environment)
    return str(told.value).split("\n")


def test_folders_that_can_be_written_or_made_are_no_fault(good, tmp_path):
    require_ready(good)
    require_ready({})
    require_ready(good | {"RAY_ADDRESS": "local"})
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


@pytest.mark.parametrize("name", ["HOME", "TMPDIR", "RAY_TMPDIR"])
def test_a_folder_that_cannot_be_written_is_named_with_the_reason(good, name):
    (fault,) = faults(good | {name: NOWHERE})
    assert fault.startswith(f"{name}: {NOWHERE} cannot be written, ")
    assert "(Not a directory); set " in fault


def test_all_faults_are_told_together():
    told = faults({"HOME": NOWHERE, "RAY_TMPDIR": NOWHERE, "TMPDIR": NOWHERE})
    assert [fault.split(":")[0] for fault in told] == ["HOME", "RAY_TMPDIR"]
    (told_once,) = faults({"HOME": NOWHERE, "TMPDIR": NOWHERE, "RAY_ADDRESS": "127.0.0.1:1"})
    assert told_once.startswith("RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers there")


def test_a_check_that_is_added_to_the_table_is_asked(good, monkeypatch):
    def forbidden(environment):
        return f"HOME: {environment['HOME']} is forbidden"

    monkeypatch.setattr(preflight, "forbidden", forbidden, raising=False)
    monkeypatch.setattr(preflight, "CHECKS", (*preflight.CHECKS, "preflight.forbidden"))
    assert faults(good) == [f"HOME: {good['HOME']} is forbidden"]


def test_it_is_told_before_ray_is_started():
    code = (
        "from orchestrator.place.cluster import connected\n"
        "from orchestrator.place.resources import Machine\n"
        "with connected(Machine(1, 0)): pass"
    )
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"HOME": NOWHERE}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].startswith(
        f"detector.core.errors.InputError: HOME: {NOWHERE}"
    )


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_ray_gets_a_short_folder_where_the_machines_own_is_long(
    monkeypatch, tmp_path, capsys, name
):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert short_folder() is None
    monkeypatch.setenv(name, LONG)
    assert short_folder((tmp_path / "none", tmp_path)) == tmp_path / "ray"
    said = f"{name} is too long for Ray's sockets: Ray works in {tmp_path}/ray instead\n"
    assert capsys.readouterr().err == said
    with pytest.raises(InputError, match=f"^{name}: must have at most 36 bytes, .* got {LONG}; "):
        short_folder((tmp_path / "none",))
