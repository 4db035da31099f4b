"""Jobs of a search whose machines differ, or are full; on a real database and without Ray."""

from __future__ import annotations

from job_sessions import (
    HALVING,
    RATIO,
    Session,
    points,
    result,
)

from orchestrator.propose.search_jobs import AHEAD
from orchestrator.trials.job import ANYWHERE, Where


class Machines:
    """Chooses for tests: nothing for the ratios that are shut out; notes what was asked."""

    def __init__(self):
        self.shut: set[float] = set()
        self.asked: list[tuple[float, int, bool]] = []

    def choose(self, params, waiting, begins):
        self.asked.append((params[RATIO], waiting, begins))
        return None if params[RATIO] in self.shut else Where("T4", 0.5)


def test_a_job_without_a_machine_is_passed_over_and_comes_when_there_is_one(tmp_path):
    session, machines = Session(tmp_path, warm_start=points(4, 3, 2, 5)), Machines()
    machines.shut = {4.0, 3.0}
    job = session.jobs.next_job(machines.choose)
    assert (job.number, job.where) == (2, Where("T4", 0.5))
    # Waiting are those that were proposed and those that are not yet.
    assert machines.asked == [(4, 4, True), (4, 4, True), (3, 4, True)] + [
        (ratio, 4, True) for ratio in (4, 3, 2)
    ]
    machines.shut = {4.0}
    assert session.jobs.next_job(machines.choose).number == 1
    assert session.jobs.at_once == 2 + 1 + 1
    machines.shut = set()
    assert [session.jobs.next_job(machines.choose).number for _ in range(2)] == [0, 3]
    assert session.jobs.next_job(machines.choose) is None


def test_only_a_few_trials_are_proposed_ahead_of_the_machines_that_hold_them(tmp_path):
    session, machines = Session(tmp_path, trials=50), Machines()
    session.next("at work")
    machines.choose = lambda *_: None
    assert session.jobs.next_job(machines.choose) is None
    assert len(session.study.trials) == 1 + AHEAD


def test_a_search_is_not_over_while_a_failed_trial_still_holds_the_only_machine(tmp_path):
    session = Session(tmp_path, warm_start=points(5, 4, 3, 2), halving=HALVING)
    for name in "abcd":
        session.next(name)
    for name in "abc":
        session.end(name, result(1, session.names[name].params[RATIO] / 10))
    session.report("d", {"error": "it broke", "epoch": 1, "best_hmean": 0.1})
    job = session.jobs.next_job(lambda *_: None)  # no machine is free by any count
    assert (job.number, job.where) == (0, ANYWHERE)
    assert session.states() == ["RUNNING", "RUNNING", "PRUNED", "FAIL"]


def test_a_promoted_trial_without_a_machine_makes_way_for_the_next(tmp_path):
    session, machines = (
        Session(tmp_path, warm_start=points(4, 3, 5, 2), halving=HALVING),
        Machines(),
    )
    for name in "abcd":  # all begin, before any has reported
        session.names[name] = session.jobs.next_job(machines.choose)
    for name in "abcd":
        session.end(name, result(1, session.names[name].params[RATIO] / 10))
    machines.asked, machines.shut = [], {5.0}
    job = session.jobs.next_job(machines.choose)
    assert (job.number, job.until, job.where) == (0, 2, Where("T4", 0.5))
    assert machines.asked == [(5, 2, False), (4, 2, False)]
