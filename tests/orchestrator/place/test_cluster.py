"""Joining a cluster that is not there; a Ray that runs is covered by the searches' tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from detector.errors import InputError, JobError
from orchestrator.place import cluster
from orchestrator.place.cluster import _start, cluster_address
from orchestrator.place.resources import Machine


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", None), ("local", None), ("auto", "auto"), ("10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_the_address_comes_from_the_environment(monkeypatch, value, expected):
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() == expected


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_named_at_once(scheme):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(InputError, match=f"RAY_ADDRESS={address}: no Ray cluster answers"):
            _start(address, Machine(1, 0))


BUSY = "The current node timed out during startup. This could happen because some of the raylet"


@pytest.mark.parametrize("slow_starts", [0, 2])
def test_a_busy_machine_gets_more_time_to_start_ray(monkeypatch, capsys, slow_starts):
    """Ray's own patience cannot be set, so its start is what is replaced here."""
    errors = [Exception(BUSY)] * slow_starts
    ended: list[bool] = []

    def init(**_):
        if errors:
            raise errors.pop()

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: ended.append(True))
    cluster._start_here(Machine(1, 0), {})
    assert len(ended) == slow_starts
    assert capsys.readouterr().err.count("this machine is busy: trying again") == slow_starts


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (BUSY, JobError, "did not start on this machine in 4 tries of half a minute; see whether"),
        ("no such option", ValueError, "no such option"),
    ],
)
def test_a_ray_that_does_not_start_is_told(monkeypatch, error, expected, message):
    def init(**_):
        raise Exception(error) if error == BUSY else ValueError(error)

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    with pytest.raises(expected, match=message):
        cluster._start_here(Machine(1, 0), {})


LONG = "/scratch/very_long_folder_of_a_batch_system/slurm_jobdir/1355700"


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_ray_gets_a_short_folder_where_the_machines_own_is_long(
    monkeypatch, tmp_path, capsys, name
):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert cluster.short_folder() is None
    monkeypatch.setenv(name, LONG)
    assert cluster.short_folder((tmp_path / "none", tmp_path)) == tmp_path / "ray"
    said = f"{name} is too long for Ray's sockets: Ray works in {tmp_path}/ray instead\n"
    assert capsys.readouterr().err == said
    with pytest.raises(InputError, match=f"^{name}: must have at most 36 bytes, .* got {LONG}; "):
        cluster.short_folder((tmp_path / "none",))


@pytest.mark.slow
@pytest.mark.ray
def test_ray_starts_with_a_long_temporary_folder(tmp_path):
    long = tmp_path / ("of_a_batch_system_" * 4)
    long.mkdir()
    code = (
        "from orchestrator.place.cluster import connected\n"
        "from orchestrator.place.resources import Machine\n"
        "with connected(Machine(1, 0)) as machines: print(machines)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"TMPDIR": str(long)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[Machine(cpus=1.0, gpus=0.0)]\n"
    assert "Ray works in /tmp/ray instead" in done.stderr
    assert list(long.glob("ray*")) == []
