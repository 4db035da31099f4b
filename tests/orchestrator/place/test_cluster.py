"""Joining a cluster that is not there; a Ray that runs is covered by the searches' tests."""

from __future__ import annotations

import socket

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
