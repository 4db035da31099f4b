"""Trials that found no memory; on a real database and without Ray."""

from __future__ import annotations

import pytest
from job_sessions import (
    UNKNOWN,
    Session,
    result,
)
from optuna.trial import TrialState as OptunaState

from orchestrator.compare.halving import Halving
from orchestrator.trials.failure import Failure, Kind, Sharing
from orchestrator.trials.records import TrialState

GPU_FULL = {"error": "out of memory: CUDA out of memory"}

NODE_FULL = Failure(Kind.NODE_OUT_OF_MEMORY, "out of memory: its machine ran low")

ALL_SHARED = Sharing(gpu=True, machine=True)


def run_out(session, name, how):
    """The job finds no memory: by its own report, or as Ray kills it."""
    if how == "lost":
        session.lose(name, NODE_FULL)
    else:
        session.report(name, GPU_FULL)
        # Tune may ask for a job before it says that this one is over.
        assert session.next(f"beside {name}").number != session.names[name].number
        session.end(name, GPU_FULL)


@pytest.mark.parametrize("how", ["reported", "lost"])
def test_a_trial_without_memory_beside_others_is_tried_once_alone(tmp_path, how):
    session = Session(tmp_path, sharing=ALL_SHARED)
    session.next("a")
    session.report("a", result(1, 0.5))
    run_out(session, "a", how)
    assert session.trial(0).state is OptunaState.RUNNING
    again = Session(tmp_path, resume=True, sharing=ALL_SHARED)  # whatever became of the driver
    job = again.next("a")
    assert (job.number, job.alone) == (0, True)
    again.report("a", result(2, 0.6))
    again.lose("a", UNKNOWN)  # and tried again for that, as ever
    assert again.next("a").alone
    run_out(again, "a", how)
    record = again.study.record(0)
    assert (record.state, record.epochs) == (TrialState.FAILED, 2)
    assert record.reason.startswith("out of memory: ")


@pytest.mark.parametrize(
    ("shared", "how"),
    [
        (Sharing(), "reported"),
        (Sharing(), "lost"),
        (Sharing(machine=True), "reported"),  # its GPUs are its own
        (Sharing(gpu=True), "lost"),
    ],
)
def test_where_nothing_is_shared_a_trial_without_memory_has_failed(tmp_path, shared, how):
    session = Session(tmp_path, sharing=shared)
    session.next("a")
    run_out(session, "a", how)
    assert session.trial(0).state is OptunaState.FAIL


def test_what_is_not_for_memory_is_not_tried_again(tmp_path):
    session = Session(tmp_path, sharing=ALL_SHARED)
    session.next("a")
    session.report("a", {"error": "ValueError: no"})
    assert session.trial(0).state is OptunaState.FAIL


def test_a_promoted_trial_without_memory_goes_on_alone_from_its_rung(tmp_path):
    session = Session(tmp_path, sharing=ALL_SHARED, halving=Halving(epochs=4, grace=1, factor=2))
    for name, best in zip("ab", (0.9, 0.5), strict=True):
        session.next(name)
        session.end(name, result(1, best))
    assert session.next("c").number == 0
    session.lose("c", NODE_FULL)
    job = session.next("d")
    assert (job.number, job.until, job.alone) == (0, 2, True)
