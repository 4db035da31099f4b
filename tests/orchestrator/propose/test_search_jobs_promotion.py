"""Trials that pause at rungs, and which of them go on; on a real database and without Ray."""

from __future__ import annotations

from dataclasses import replace

import pytest
from job_sessions import (
    BACKBONE,
    HALVING,
    RATIO,
    SPEED,
    Session,
    by_ratio,
    make_space,
    points,
    proposed_after,
    result,
)
from sqlalchemy import Engine, event

from orchestrator.compare.halving import Halving
from orchestrator.space.parameters import Parameter
from orchestrator.trials.records import TrialState


def test_trials_pause_at_a_rung_and_the_best_go_on(tmp_path):
    session = Session(tmp_path, warm_start=points(4, 3, 2, 5), halving=HALVING)
    jobs = [session.run(str(i), by_ratio) for i in range(7)]
    # Of 4 and 3 the first goes on; it is alone at its rung. Of four, two go on; of two, one.
    assert jobs == [(0, 1), (1, 1), (0, 2), (2, 1), (3, 1), (3, 2), (3, 4)]
    # Half of four may go on from the first rung: the other half is stopped when all are there.
    assert session.states() == ["RUNNING", "PRUNED", "PRUNED", "COMPLETE"]
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "PRUNED", "PRUNED", "COMPLETE"]
    epochs = [max(t.intermediate_values) for t in session.study.trials]
    assert epochs == [2, 1, 1, 4]
    assert session.trial(0).value == 0.4


def test_a_promotion_waits_for_the_trials_that_decide_it(tmp_path):
    session = Session(tmp_path, trials=2, warm_start=points(2, 4), halving=HALVING)
    session.run("a", by_ratio)
    session.next("b")
    assert session.next("c") is None
    session.end("b", result(1, 0.4))
    assert session.next("d").number == 1


def test_trials_that_wait_for_the_scores_of_others_could_not_run_at_once(tmp_path):
    session = Session(tmp_path, warm_start=points(4, 3, 2, 5), halving=HALVING)
    could = [session.jobs.at_once]
    for name in "abcdef":
        session.run(name, by_ratio)
        could.append(session.jobs.at_once)
    # Those not proposed yet and, after the second, fifth and sixth job, one that is promoted.
    assert could == [4, 3, 2 + 1, 2, 1, 1, 1]
    job = session.next("last")
    assert (job.number, job.until, session.jobs.at_once) == (3, 4, 1)
    assert session.jobs.left == 2
    session.end("last", result(4, 0.5, finished=True))
    assert session.jobs.at_once == 0


def test_a_small_search_trains_its_best_trial_to_the_end(tmp_path):
    # Two trials never fill a third of a rung.
    halving = Halving(epochs=9, grace=1, factor=3)
    session = Session(tmp_path, trials=2, warm_start=points(2, 4), halving=halving)
    assert [session.run(str(i), by_ratio) for i in range(4)] == [(0, 1), (1, 1), (1, 3), (1, 9)]
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "COMPLETE"]


def test_a_leader_that_fails_makes_way_for_the_next(tmp_path):
    halving = Halving(epochs=9, grace=1, factor=3)
    session = Session(tmp_path, trials=2, warm_start=points(2, 4), halving=halving)
    for name in "ab":
        session.run(name, by_ratio)
    session.next("c")
    session.report("c", {"error": "ValueError: no"})
    session.end("c", {"error": "ValueError: no"})
    assert [session.run(name, by_ratio) for name in "de"] == [(0, 3), (0, 9)]


def test_after_a_kill_paused_trials_stay_paused_and_cut_ones_go_on(tmp_path):
    killed = Session(tmp_path, warm_start=points(2, 4, 3, 5), halving=HALVING)
    killed.run("a", by_ratio)
    killed.run("b", by_ratio)
    assert killed.run("c", by_ratio) == (1, 2)
    killed.next("d")  # cut before its first epoch

    session = Session(tmp_path, resume=True, halving=HALVING)
    jobs = [session.run(str(i), by_ratio) for i in range(4)]
    assert jobs == [(2, 1), (3, 1), (3, 2), (3, 4)]
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "PRUNED", "PRUNED", "COMPLETE"]


def test_a_trial_that_was_cut_in_its_last_epoch_is_ended(tmp_path):
    killed = Session(tmp_path, trials=1, halving=Halving(epochs=1, grace=1, factor=2))
    killed.next("a")
    killed.report("a", result(1, 0.5, finished=True))

    session = Session(tmp_path, trials=1, resume=True, halving=Halving(epochs=1, grace=1, factor=2))
    assert session.next("b").until == 1
    session.end("b", result(1, 0.5, finished=True))
    assert session.states() == ["COMPLETE"]


def test_an_extended_search_compares_with_the_trials_of_the_first(tmp_path):
    first = Session(tmp_path, trials=2, warm_start=points(3, 4), halving=HALVING)
    assert [first.run(name, by_ratio) for name in "abcd"] == [(0, 1), (1, 1), (1, 2), (1, 4)]
    assert first.next("end") is None

    more = points(3, 4, 2, 5)
    session = Session(tmp_path, trials=4, resume=True, warm_start=more, halving=HALVING)
    # Trial 2 is third of three at the first rung, trial 3 the best of four.
    assert [session.run(name, by_ratio) for name in "efg"] == [(2, 1), (3, 1), (3, 2)]
    assert session.run("h", by_ratio) == (3, 4)  # the best of two at the second


def test_the_sampler_ranks_paused_trials_below_finished_ones(tmp_path):
    # Left of 4 trials finish well, right of it they pause at a score that is higher.
    halving = Halving(epochs=4, grace=1, factor=100)
    left, right = result(4, 0.8, finished=True), result(1, 0.9)
    later = proposed_after(tmp_path, left=left, right=right, halving=halving)
    assert sum(ratio < 5 for ratio in later) >= 7


def test_a_job_that_ends_before_its_rung_fails(tmp_path):
    session = Session(tmp_path, halving=Halving(epochs=9, grace=3, factor=3))
    session.next("a")
    session.end("a", result(2, 0.5))
    (record,) = session.study.records()
    assert record.state is TrialState.FAILED
    assert record.reason == "it ended after epoch 2, though it should train to 3"


def test_a_paused_trial_is_known_as_one(tmp_path):
    session = Session(tmp_path, halving=HALVING)
    session.run("a", by_ratio)
    assert [r.state for r in session.study.records()] == [TrialState.PAUSED]
    job = session.next("b")
    session.report("b", result(job.until, 0.1))
    assert [r.state for r in session.study.records()][-1] is TrialState.RUNNING


def test_paused_trials_are_no_obstacle_to_several_objectives(tmp_path):
    halving = Halving(epochs=4, grace=1, factor=2)
    session = Session(tmp_path, trials=20, halving=halving, objectives=SPEED)
    while (job := session.next("x")) is not None:
        until, ratio = job.until, job.params[RATIO]
        slow = 10 * (job.params[BACKBONE] == "resnet34")
        last = result(until, ratio / 10, finished=until == 4, latency_ms=ratio + slow)
        session.end("x", last)
    assert set(session.states()) == {"COMPLETE", "PRUNED"}
    # A fast trial beats a slow one with a lower score in both, so fronts hold fast ones.
    promoted = [t for t in session.study.trials if max(t.intermediate_values) > 1]
    fast = sum(t.params[BACKBONE] == "resnet18" for t in promoted)
    assert fast > len(promoted) / 2


def test_objectives_are_compared_at_the_epoch_of_the_rung(tmp_path):
    # Trial 0 was slower (100 ms) at epoch 1 than at epoch 2 (10 ms). Trial 1 is better in both at
    # the first rung, where it is compared: the newest figure of trial 0 must not keep it out.
    session = Session(
        tmp_path, warm_start=points(2, 3, 4), trials=3, halving=HALVING, objectives=SPEED
    )
    for number, (score, latency) in enumerate([(0.5, 100.0), (0.4, 120.0)]):
        job = session.next("x")
        assert (job.number, job.until) == (number, 1)
        session.end("x", result(1, score, latency_ms=latency))
    job = session.next("x")
    assert (job.number, job.until) == (0, 2)
    session.end("x", result(2, 0.5, latency_ms=10.0))
    job = session.next("x")
    assert (job.number, job.until) == (2, 1)
    session.end("x", result(1, 0.6, latency_ms=90.0))
    job = session.next("x")
    assert (job.number, job.until) == (2, 2)


@pytest.mark.parametrize("trials", [3, 4, 50])
def test_a_search_ends_alike_with_enough_trials_and_without_new_points(tmp_path, trials):
    space = replace(
        make_space(trials=trials), parameters={RATIO: Parameter(RATIO, "choice", (1.0, 2.0, 3.0))}
    )
    session = Session(tmp_path, trials=trials, space=space, halving=HALVING)
    epochs = 0
    while (job := session.next("x")) is not None:
        before = max(session.trial(job.number).intermediate_values, default=0)
        epochs += job.until - before
        last = result(job.until, job.params[RATIO] / 10, finished=job.until == 4)
        session.end("x", last)
    assert session.jobs.is_exhausted == (trials > 3)
    ends = {t.params[RATIO]: t.state.name for t in session.study.trials}
    assert ends == {1.0: "PRUNED", 2.0: "PRUNED", 3.0: "COMPLETE"}
    assert epochs == 1 + 1 + 4


def test_paused_trials_cost_no_statement_of_the_database(tmp_path):
    # They are RUNNING in the database, which gave all of them anew at each look.
    session = Session(tmp_path, trials=99, halving=Halving(epochs=4, grace=1, factor=50))
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    for _ in range(40):
        statements.clear()
        assert session.run("x", by_ratio)[1] == 1
        counts.append(len(statements))
    assert counts[0] > 0
    assert counts == [counts[0]] * 40
    read = [text for text in statements if "intermediate" in text and text.startswith("SELECT")]
    assert len(read) <= 2  # of the one trial that reports
