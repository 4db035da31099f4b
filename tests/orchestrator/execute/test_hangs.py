"""When a trial counts as hung; that its worker is ended is in tests/faults."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
import ray

from orchestrator.execute.hangs import HangWatch
from orchestrator.propose.job_searcher import JobSearcher
from orchestrator.trials.failure import Failure, Kind


def job(name: str, actor: object = "actor") -> SimpleNamespace:
    return SimpleNamespace(trial_id=name, temporary_state=SimpleNamespace(ray_actor=actor))


class Clock:
    """Minutes that pass when they are told to."""

    minutes = 0.0

    def __call__(self) -> float:
        return 60 * self.minutes


@pytest.fixture
def watched(monkeypatch):
    """A watch of five minutes, its clock and searcher, and the workers that it has ended."""
    ended: list[object] = []
    monkeypatch.setattr(ray, "kill", ended.append)
    clock, searcher = Clock(), JobSearcher()
    return HangWatch(5, searcher, clock), clock, searcher, ended


def test_the_time_begins_with_the_worker_and_again_with_each_report(watched):
    watch, clock, searcher, ended = watched
    jobs = [job("a", "worker of a"), job("b", "worker of b"), job("waiting")]
    for one in jobs[:2]:
        watch.on_trial_start(trial=one)
    clock.minutes = 4
    watch.on_trial_result(trial=jobs[1])
    clock.minutes = 5
    watch.on_step_begin(trials=jobs)
    assert ended == []
    clock.minutes = 5.1
    for _ in range(2):  # once is enough
        watch.on_step_begin(trials=jobs)
    assert ended == ["worker of a"]
    # What Tune then says of its worker is not why it was lost; and it is not tried again.
    searcher.explain_failure("a", Failure(Kind.LOST_WORKER, "its process died"))
    reason = "it reported no epoch for budget.hang_minutes=5; its worker ended"
    assert searcher.verdict("a", 0, 1) == reason


@pytest.mark.parametrize("end", ["on_trial_complete", "on_trial_error"])
def test_a_job_that_is_over_cannot_hang(watched, end):
    watch, clock, _, ended = watched
    watch.on_trial_start(trial=job("a"))
    getattr(watch, end)(trial=job("a"))
    clock.minutes = 99
    watch.on_step_begin(trials=[job("a")])
    assert ended == []


def test_a_job_whose_worker_is_gone_already_is_left_to_tune(watched):
    watch, clock, searcher, ended = watched
    watch.on_trial_start(trial=job("a"))
    clock.minutes = 6
    watch.on_step_begin(trials=[job("a", actor=None)])
    assert ended == []
    assert searcher.verdict("a", 0, 1) is None  # nothing is known, so it is tried again


def test_tune_can_pickle_it(watched):
    assert pickle.loads(pickle.dumps(watched[0])).__dict__ == {}
