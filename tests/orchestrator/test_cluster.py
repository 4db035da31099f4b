"""Joining a cluster that is not there; a Ray that runs is covered by the searches' tests."""

from __future__ import annotations

import socket

import pytest

from detector.errors import InputError
from orchestrator.cluster import _start, cluster_address
from orchestrator.resources import Machine


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
