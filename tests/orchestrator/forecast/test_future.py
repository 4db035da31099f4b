"""The rest of a search by its rules, with figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from random import Random
from statistics import fmean, pstdev

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.forecast.future import Job, Rules, played
from orchestrator.forecast.outcomes import Outcomes, outcomes
from orchestrator.forecast.seen import Now, Seen

STEPS = (1, 3, 9)
THIRDS = [Fraction(1, 3)] * 2


def seen(number: int, now: Now, *hmeans: float, **known: object) -> Seen:
    """A trial that had these H-means after its epochs, of ten seconds each."""
    values = dict(enumerate(hmeans, 1))
    pace = 10.0 if hmeans else None
    return Seen(number, STEPS, now, epoch=len(hmeans), values=values, pace=pace, **known)  # type: ignore[arg-type]


def jobs_of(trials: list[Seen], rules: Rules) -> list[Job]:
    known = outcomes(trials)
    assert known is not None
    return list(played(trials, known, rules, Random(0)))


def test_a_paused_trial_among_the_best_third_goes_on_to_its_end():
    """Of three at the first rung one goes on, and as none is finished it is trained to the end."""
    trials = [seen(i, Now.PAUSED, 0.5 + i / 10) for i in range(3)]
    jobs = jobs_of(trials, Rules(new=0, shares=THIRDS, at_once=2))
    assert [(job.start, job.end, job.first, job.last) for job in jobs] == [
        (0, 20, 1, 3),
        (20, 80, 3, 9),
    ]
    assert jobs[-1].is_whole


def test_each_rung_has_its_own_share():
    """Of five at the second rung two go on, and one of these is over; at the first one of six."""
    trials = [seen(i, Now.PAUSED, *[0.5] * 3) for i in range(4)]
    trials = [seen(9, Now.OVER, *[0.9] * 9), *trials, seen(4, Now.PAUSED, 0.6)]
    shares = (Fraction(1, 5), Fraction(2, 5))
    jobs = jobs_of(trials, Rules(new=0, shares=shares, at_once=1))
    assert [(job.first, job.last) for job in jobs] == [(3, 9)]
    assert jobs_of(trials, Rules(new=0, shares=shares[::-1], at_once=1))[0].first == 1


def test_where_one_is_finished_nothing_else_is_trained_without_having_earned_it():
    trials = [seen(0, Now.OVER, *[0.9] * 9), seen(1, Now.PAUSED, 0.5)]
    assert jobs_of(trials, Rules(new=0, shares=THIRDS, at_once=1)) == []


def test_running_trials_train_to_their_rung_from_where_they_are_and_waiting_ones_come_next():
    """Trial 1 has 4 of the 20 seconds to its rung behind it; a job beside takes 5 to begin."""
    trials = [
        seen(0, Now.OVER, *[0.9] * 9),
        seen(1, Now.WORKING, 0.5, since=4.0),
        seen(2, Now.WAITING),
    ]
    jobs = jobs_of(trials, Rules(new=0, shares=THIRDS, at_once=1, overhead=5.0))
    assert [(job.start, job.end, job.last) for job in jobs[:2]] == [(0, 16, 3), (16, 31, 1)]


def test_trials_that_are_stopped_for_good_go_on_at_once_or_never():
    trials = [seen(0, Now.OVER, *[0.9] * 9), seen(1, Now.WORKING)]
    rules = Rules(new=0, shares=THIRDS, at_once=1, pauses=False)
    known = Outcomes(outcomes(trials).begun, 0.0, 0.0, outcomes(trials).pairs)  # type: ignore[union-attr]
    assert sum(job.last - job.first for job in played(trials, known, rules, Random(0))) in (1, 9)


def test_an_unsteady_pace_takes_as_long_in_the_mean():
    """Two epochs of ten seconds; without care the mean would be exp(0.8^2 / 2), 1.38 times that."""
    trials = [seen(0, Now.OVER, *[0.9] * 9), seen(1, Now.WORKING, 0.5)]
    known = replace(outcomes(trials), unsteady=0.8)  # type: ignore[type-var]
    rules = Rules(new=0, shares=THIRDS, at_once=1)
    ends = [next(played(trials, known, rules, Random(seed))).end for seed in range(4000)]
    assert fmean(ends) == pytest.approx(20.0, rel=0.05)
    assert pstdev([math.log(end) for end in ends]) == pytest.approx(0.8, rel=0.05)


def test_patience_ends_it():
    trials = [seen(0, Now.OVER, *[0.9] * 9), *(seen(i, Now.WAITING) for i in range(1, 9))]
    known = outcomes([*trials, seen(9, Now.OVER, 0.1)])
    assert known is not None
    bad = Outcomes(known.begun[1:], 0.0, 0.0, known.pairs)  # as the last one: never better
    rules = Rules(new=0, shares=THIRDS, at_once=1, patience=3, since_best=1)
    assert len(list(played(trials, bad, rules, Random(0)))) == 2


def test_an_error_falls_evenly_over_the_logarithm_of_epochs():
    """From 1 to 9 epochs in 80 seconds: after 20 they are 3, half of the way."""
    job = Job(start=0, end=80, first=1, last=9, before=-1.0, after=-2.0, is_whole=True)
    assert [job.error_at(s) for s in (0, 20, 80, 99)] == [-1.0, -1.5, -2.0, -2.0]


@given(
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=12),
    st.integers(0, 12),
    st.integers(1, 4),
    st.integers(2, 4),
    st.booleans(),
)
@examples(60)
def test_a_search_keeps_its_workers_busy_and_ends(hmeans, new, at_once, factor, pauses):
    trials = [seen(i, Now.PAUSED if pauses else Now.OVER, h) for i, h in enumerate(hmeans)]
    jobs = jobs_of(trials, Rules(new, [Fraction(1, factor)] * 2, at_once, pauses=pauses))
    assert [job.end for job in jobs] == sorted(job.end for job in jobs)
    assert sum(job.first == 0 for job in jobs) == new  # each new trial is begun once
    for job in jobs:
        assert job.after <= job.before
        assert sum(other.start <= job.start < other.end for other in jobs) <= at_once
    if pauses:
        assert any(job.is_whole for job in jobs)
