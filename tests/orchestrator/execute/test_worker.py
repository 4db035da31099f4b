"""What a process does after a trial, without Ray (with it: test_failures.py)."""

from __future__ import annotations

import pytest

from orchestrator.execute import worker
from orchestrator.execute.worker import (
    LEFT_BYTES,
    SpoiltProcessError,
    UsedUpProcessError,
    in_this_process,
)


def ran(error: BaseException | None) -> list[str]:
    said: list[str] = []

    def run():
        said.append("ran")
        if error is not None:
            raise error

    in_this_process(run, explain=lambda e: f"because {e}", report=said.append)
    return said


def test_an_error_is_reported_and_the_process_goes_on():
    assert ran(None) == ["ran"]
    assert ran(ValueError("x")) == ["ran", "because x"]
    assert ran(MemoryError("full")) == ["ran", "because full"]


def test_a_device_error_is_raised_with_its_reason_alone():
    with pytest.raises(SpoiltProcessError, match=r"^because CUDA error: misaligned$") as caught:
        ran(RuntimeError("CUDA error: misaligned"))
    assert caught.value.__cause__ is None  # its tensors must not go along


def test_a_trial_that_is_stopped_leaves_as_it_wants():
    with pytest.raises(SystemExit):
        ran(SystemExit(0))


def test_a_process_that_holds_memory_runs_nothing(monkeypatch):
    monkeypatch.setattr(worker, "release_memory", lambda: LEFT_BYTES)
    assert ran(None) == ["ran"]
    monkeypatch.setattr(worker, "release_memory", lambda: LEFT_BYTES + 2**20)
    with pytest.raises(UsedUpProcessError, match="an earlier trial left 65 MiB on the GPU"):
        ran(None)
