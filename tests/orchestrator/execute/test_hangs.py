"""When a trial counts as hung; that its worker is ended is in tests/faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.execute.hangs import HangWatch
from orchestrator.trials.failure import Failure, Kind
from orchestrator.trials.job import TrialJob

REASON = "it reported no epoch for budget.hang_minutes=5; its worker ended"


def job(number: int) -> TrialJob:
    return TrialJob(number, Path(), {})


class Watched:
    """A watch of five minutes, and the jobs whose workers it has ended."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ended: list[tuple[int, Failure]] = []
        self.watch = HangWatch(5, lambda job, why: self.ended.append((job.number, why)), self.clock)

    def clock(self) -> float:
        return self.now

    def minutes(self, count: float) -> None:
        """Let them pass, with two steps a second."""
        for _ in range(round(120 * count)):
            self.now += 0.5
            self.watch.step()


def test_the_time_begins_with_the_worker_and_again_with_each_report():
    watched = Watched()
    for number in (0, 1):
        watched.watch.started(job(number))
    watched.minutes(4)
    watched.watch.reported(job(1), {"epoch": 1})
    watched.minutes(1)
    assert watched.ended == []
    watched.minutes(0.1)
    assert watched.ended == [(0, Failure(Kind.HUNG, REASON))]
    watched.minutes(3.8)
    assert len(watched.ended) == 1  # once is enough
    watched.minutes(0.2)
    assert [number for number, _ in watched.ended] == [0, 1]


@pytest.mark.parametrize("end", ["ended", "lost"])
def test_a_job_that_is_over_cannot_hang(end):
    watched = Watched()
    watched.watch.started(job(0))
    getattr(watched.watch, end)(job(0))
    watched.minutes(20)
    assert watched.ended == []


def test_a_worker_that_copies_what_it_needs_does_not_hang():
    watched = Watched()
    watched.watch.started(job(0))
    for _ in range(4):
        watched.minutes(4)
        watched.watch.alive(job(0))
    assert watched.ended == []
    watched.minutes(5.1)
    assert len(watched.ended) == 1


def test_time_in_which_the_search_itself_was_busy_counts_for_nobody():
    watched = Watched()
    watched.watch.started(job(0))
    watched.minutes(1)
    watched.now += 60 * 60  # a bucket that did not answer; reports wait to be read
    watched.watch.step()
    watched.minutes(3.9)
    assert watched.ended == []
    watched.minutes(0.2)
    assert len(watched.ended) == 1
