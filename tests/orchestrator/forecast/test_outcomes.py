from __future__ import annotations

import math
from random import Random

import pytest

from orchestrator.forecast.outcomes import growth, log_error, measured, outcomes, pace_of
from orchestrator.forecast.seen import Now, Seen

STEPS = (1, 3)


def seen(number: int, *hmeans: float, pace: float | None = 10.0, kind: str = "a") -> Seen:
    values = dict(enumerate(hmeans, 1))
    return Seen(number, STEPS, Now.PAUSED, len(hmeans), values, pace=pace, kind=kind)


def test_nothing_is_known_before_an_epoch_is_over():
    assert outcomes([seen(0, pace=None)]) is None


def test_a_pace_is_a_trials_own_else_that_of_its_kind_else_of_all():
    trials = [seen(0, 0.5), seen(1, 0.5, pace=30.0, kind="b"), seen(2, pace=None, kind="b")]
    paces = measured(trials)
    assert [pace_of(trial, paces) for trial in trials] == [10, 30, 30]
    assert pace_of(seen(3, pace=None, kind="new"), paces) == 20


def test_a_line_by_hand():
    """Through (-1, -2) and (-3, -3) and the point between them: slope 1/2, nothing off it."""
    line = growth([(-1.0, -2.0), (-2.0, -2.5), (-3.0, -3.0)])
    assert (line.before, line.after, line.slope) == (-2.0, -2.5, 0.5)
    assert line.rests == (0, 0, 0)
    assert growth([(-1.0, -2.0), (-3.0, -3.0)]).slope == 1  # two trials tell none


def test_an_error_shrinks_by_the_line_and_in_part_where_part_of_the_way_is_left():
    trials = [seen(i, h, 0.0, 1 - (1 - h) / 2) for i, h in enumerate((0.2, 0.4, 0.6))]
    known = outcomes(trials)
    assert known is not None
    halved = known.grown(Random(0), log_error(0.5), 1)
    assert halved == pytest.approx(math.log(0.25))
    part = known.grown(Random(0), log_error(0.5), 1, part=0.5)
    assert part == pytest.approx((math.log(0.25) + math.log(0.5)) / 2)


def test_a_trial_that_failed_is_one_that_a_new_one_may_be_like():
    failed = Seen(1, (2, 4), Now.OVER, 1, {1: 0.3}, pace=10.0)
    known = outcomes([seen(0, 0.5), failed])
    assert known is not None
    assert [begun.error for begun in known.begun] == [log_error(0.5), None]
    assert known.begun[1].epochs == 1


def test_what_finds_nothing_is_like_nothing_better():
    known = outcomes([seen(i, 0.0) for i in range(4)])
    assert known is not None
    assert {known.new(Random(i)).error for i in range(20)} == {0.0}
