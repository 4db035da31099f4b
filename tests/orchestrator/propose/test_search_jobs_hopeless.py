"""Trials that are given up between rungs; on a real database and without Ray."""

from __future__ import annotations

import math

import pytest
from job_sessions import (
    Session,
    make_space,
    result,
)
from optuna.trial import TrialState as OptunaState
from sessions import make_run

from orchestrator.compare.halving import Halving
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.trials.records import TrialState


def with_five_others(session):
    """Five trials that were good after two epochs; the next job is a sixth."""
    for name in "abcde":
        session.next(name)
        for epoch, best in enumerate((0.6, 0.8, 0.9), 1):
            session.report(name, result(epoch, best))
    return session.next("slow")


def hopeless(session, report):
    return session.jobs.is_hopeless(session.names["slow"], report)


LONG = Halving(epochs=12, grace=12, factor=2)  # its first rung is its end


@pytest.mark.parametrize("halving", [None, LONG])
def test_a_hopeless_trial_is_stopped_before_its_next_rung_and_says_why(tmp_path, halving):
    session = Session(tmp_path, halving=halving, space=make_space(trials=7))
    number = with_five_others(session).number
    for epoch in (1, 2, 3):
        assert not hopeless(session, result(epoch, 0.1))
        session.report("slow", result(epoch, 0.1))
    assert hopeless(session, result(4, 0.1))
    assert not hopeless(session, result(4, 0.5))
    assert not hopeless(session, result(4, 0.1, finished=True))
    assert not hopeless(session, result(4, math.nan))
    assert not hopeless(session, {"error": "ValueError: no"})
    session.end("slow", result(4, 0.1, done=True))  # Tune tells of its last report here alone
    record = session.study.record(number)
    assert (record.state, record.epochs, record.hmean) == (TrialState.STOPPED, 4, 0.1)
    assert record.reason.startswith("hopeless: H-mean 0.1000 after 4 epochs")
    assert session.trial(number).state is OptunaState.PRUNED
    assert session.next("another").number == 6


def test_a_driver_killed_before_a_hopeless_trial_had_ended_stops_it_in_its_next_session(tmp_path):
    space = make_space(trials=6)
    killed = Session(tmp_path, halving=LONG, space=space)
    number = with_five_others(killed).number
    killed.report("slow", result(4, 0.1))
    resumed = Session(tmp_path, resume=True, halving=LONG, space=space)
    assert [resumed.next(name).number for name in "vwxyz"] == [0, 1, 2, 3, 4]
    assert resumed.next("none") is None
    record = resumed.study.record(number)
    assert (record.state, record.reason[:9]) == (TrialState.STOPPED, "hopeless:")


@pytest.mark.parametrize("settings", [{"hopeless": 0}, {"objectives": ["hmean", "params_m"]}])
def test_nothing_is_hopeless_where_that_is_off_or_small_models_count(tmp_path, settings):
    space = make_space(trials=7)
    run = make_run(tmp_path, space, resume=False, search=settings)
    session = Session(tmp_path, resume=True, space=space)
    session.jobs = SearchJobs(run, LONG)
    with_five_others(session)
    assert not hopeless(session, result(4, 0.1))


def test_losses_are_kept_by_epoch_and_stop_what_does_not_learn(tmp_path):
    session = Session(tmp_path, halving=LONG, space=make_space(trials=7))
    for name in "abcde":
        session.next(name)
        for epoch in (1, 2, 3):
            session.report(name, result(epoch, 0.0, **{"loss/total": 6.0 - epoch}))
    dead = session.next("slow").number
    for epoch in (1, 2, 3, 4, 5):
        session.report("slow", result(epoch, 0.0, **{"loss/total": 5.0}))
    last = result(6, 0.0, **{"loss/total": 5.0})
    assert hopeless(session, last)
    assert not hopeless(session, result(6, 0.0, **{"loss/total": 4.0}))
    session.end("slow", last)
    record = session.study.record(dead)
    assert (record.state, record.epochs) == (TrialState.STOPPED, 6)
    assert record.reason.startswith("hopeless: its loss has fallen by 0.0% in 6 epochs")
