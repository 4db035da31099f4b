"""When a training is given up, by hand, and on trainings of which the end is known."""

from __future__ import annotations

from pathlib import Path

import bench_hopeless
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from replay import read_table
from sessions import make_run

from orchestrator.compare.hopeless import FEWEST, FIRST, Hopeless, why_flat, why_hopeless
from orchestrator.run.as_records import LATEST, LOSSES, TWIN
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.records import TrialState

TABLE = Path(bench_hopeless.__file__).with_name("trainings.npz")
RATES = {"optimizer.lr": Parameter("optimizer.lr", "uniform", (0.0, 1.0))}
SPACE = SearchSpace(
    name="test",
    description="",
    fixed={},
    parameters=RATES,
    warm_start=(),
    budget=Budget(trials=20, epochs=12, grace_epochs=1, reduction_factor=3),
)


def rising(*best, every=1):
    """The best H-mean after each validated epoch."""
    return {every * (index + 1): value for index, value in enumerate(best)}


GOOD = rising(0.5, 0.8, 0.9, 0.94, 0.96, 0.97)


@pytest.mark.parametrize(
    ("epoch", "hmean", "others", "stopped"),
    [
        (4, 0.02, 5 * [GOOD], True),  # they had 0.8 after two
        (4, 0.39, 5 * [GOOD], True),
        (4, 0.4, 5 * [GOOD], False),  # half of it
        (3, 0.0, 9 * [GOOD], False),  # too soon to tell
        (4, 0.0, 4 * [GOOD], False),  # too few to compare with
        (4, 0.0, [*(4 * [GOOD]), rising(0.9)], False),  # of which one was not there yet
        (4, 0.0, 9 * [rising(0.0, 0.0, 0.0, 0.9)], False),  # nor had they anything after two
        (4, 0.0, [*(3 * [GOOD]), *(3 * [rising(0, 0, 0)])], False),  # nor half of them
        (4, 0.0, [*(4 * [GOOD]), *(3 * [rising(0, 0, 0)])], True),
        (10, 0.45, 5 * [rising(0.88, 0.95, every=5)], False),  # 0.44 would do
        (10, 0.45, 5 * [rising(0.96, 0.97, every=5)], True),  # a rate that suits others
        (12, 0.0, 5 * [rising(0.9, every=9)], False),  # not validated by then
        (5, 0.0, 5 * [{2: 0.9, 5: 0.9}], True),
        (4, 0.0, [*(4 * [GOOD]), {}], False),
    ],
)
def test_a_training_is_given_up_far_behind_what_others_had_half_as_far(
    epoch, hmean, others, stopped
):
    why = why_hopeless(epoch, 12, hmean, others, 0.5)
    assert (why is not None) is stopped


def test_a_quarter_of_a_long_training_comes_first():
    long = [dict.fromkeys(range(1, 41), 0.9)] * 5
    assert why_hopeless(9, 40, 0.0, long, 0.5) is None
    assert why_hopeless(10, 40, 0.0, long, 0.5) is not None


def test_the_reason_has_the_figures_and_the_setting():
    assert why_hopeless(8, 12, 0.0213, 7 * [GOOD], 0.5) == (
        "hopeless: H-mean 0.0213 after 8 epochs, while most of 7 others had 0.9400 or more after "
        "4 (search.hopeless=0.5)"
    )


FALLING = rising(5.4, 5.2, 4.8, 4.2, 4.0, 3.9, 3.8, 3.7)  # of a real training, as the flat one
FLAT = rising(5.485, 5.480, 5.483, 5.480, 5.479, 5.480)


@pytest.mark.parametrize(
    ("epoch", "losses", "others", "stopped"),
    [
        (6, FLAT, 5 * [FALLING], True),  # they had lost 11 % after three
        (6, rising(5.0, 5.5, 6.0, 7.0, 7.0, 9.0), 5 * [FALLING], True),
        (6, rising(5.461, 5.397, 5.32, 5.172, 4.973, 4.835), 5 * [FALLING], False),
        (6, FLAT, 4 * [FALLING], False),
        (6, FLAT, 9 * [FLAT], False),  # a search in which nobody learns
        (6, FLAT, [*(4 * [FALLING]), *(4 * [FLAT])], False),
        (4, FLAT, 5 * [FALLING], False),  # 3.7 % is too little to tell by
        (3, FLAT, 5 * [rising(5.0, 1.0, 1.0)], False),
        (6, {}, 5 * [FALLING], False),
        (6, FLAT, 5 * [{}], False),
    ],
)
def test_a_loss_that_stays_flat_or_rises_is_given_up_where_others_fall(
    epoch, losses, others, stopped
):
    known = {at: loss for at, loss in losses.items() if at <= epoch}
    assert (why_flat(epoch, 12, known, others) is not None) is stopped


def test_the_reason_has_what_the_losses_did():
    assert why_flat(6, 12, FLAT, 5 * [FALLING]) == (
        "hopeless: its loss has fallen by 0.1% in 6 epochs, while that of most of 5 others had by "
        "11.1% or more after 3"
    )


def test_a_loss_decides_only_where_no_word_was_found(tmp_path):
    run = make_run(tmp_path, SPACE, resume=False)
    nothing = dict.fromkeys(range(1, 7), 0.0)
    for _ in range(5):
        begun(run, 0.5, nothing, **{LOSSES: {str(at): loss for at, loss in FALLING.items()}})
    dead = begun(run, 0.1, {1: 0.0}, **{LOSSES: {"1": 5.485}})
    hopeless = Hopeless(run.study, 12, 0.5, cost=lambda _: 1.0)
    assert hopeless.why(dead, 6, 0.0, 5.48).startswith("hopeless: its loss has fallen by 0.1%")
    assert hopeless.why(dead, 6, 0.001, 5.48) is None
    assert hopeless.why(dead, 6, 0.0, 4.9) is None
    assert Hopeless(run.study, 12, 0.0, cost=lambda _: 1.0).why(dead, 6, 0.0, 5.48) is None


CURVES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=12).map(sorted), max_size=12)


@examples(200)
@given(CURVES, st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_nothing_is_given_up_that_is_as_good_as_most(curves, epoch, hmean, share):
    others = [rising(*curve) for curve in curves]
    there = [curve[epoch - 1] for curve in curves if len(curve) >= epoch]
    stopped = why_hopeless(epoch, 12, hmean, others, share) is not None
    assert not stopped or epoch >= FIRST
    assert not stopped or len(curves) >= FEWEST
    if len(there) == len(curves):  # else those that went on may be the worse ones
        assert not stopped or hmean < np.median(there)
    assert why_hopeless(epoch, 12, hmean, others, 0.0) is None


def test_no_recorded_training_is_given_up_that_ends_in_the_best_quarter():
    curves = bench_hopeless.stretched(read_table(TABLE).crossfit, 1)
    searches = list(bench_hopeless.drawn(curves[:, -1], 100))
    row = bench_hopeless.row(0.5, curves, searches).split(" | ")
    assert row[2:4] == ["0", "0"]
    given_up, trials = row[1].split(" of ")
    assert 0 < int(given_up) < int(trials) == sum(len(search.order) for search in searches)


def begun(run, rate, values=None, **notes):
    spread = {"optimizer.lr": FloatDistribution(0.0, 2.0)}
    number = run.study.begin({"optimizer.lr": rate}, spread, **notes).number
    for epoch, value in (values or {}).items():
        run.study.report(number, epoch, value)
    return number


def test_trials_are_compared_with_those_of_no_more_work_and_of_their_own(tmp_path):
    run = make_run(tmp_path, SPACE, resume=False)
    for work in (1.0, 1.0, 1.0, 1.0, 2.0):
        begun(run, work, GOOD)
    begun(run, 1.0, GOOD, **{TWIN: 0})  # it has the weights of another
    slow = begun(run, 1.0, rising(0, 0, 0, 0.1))
    by_work = Hopeless(run.study, 12, 0.5, cost=lambda params: params["optimizer.lr"])
    assert by_work.why(slow, 4, 0.1) is None  # there are four of no more work
    assert Hopeless(run.study, 12, 0.5, cost=lambda _: 1.0).why(slow, 4, 0.1)
    begun(run, 1.0, GOOD)
    assert by_work.why(slow, 4, 0.1)
    assert Hopeless(run.study, 12, 0.0, cost=lambda _: 1.0).why(slow, 4, 0.1) is None


def test_a_trial_that_is_given_up_is_stopped_and_says_why(tmp_path):
    run = make_run(tmp_path, SPACE, resume=False)
    for _ in range(5):
        begun(run, 0.5, GOOD)
    hopeless = Hopeless(run.study, 12, 0.5, cost=lambda _: 1.0)
    slow = begun(run, 0.1, rising(0, 0, 0, 0.1))
    over = begun(run, 0.1, rising(0, 0, 0, 0.1), **{LATEST: {"finished": True}})
    twin = begun(run, 0.1, rising(0, 0, 0, 0.1), **{TWIN: slow})
    new = begun(run, 0.1)
    assert [hopeless.given_up(n) for n in (slow, over, twin, new, 0)] == [True, *[False] * 4]
    record = run.study.record(slow)
    assert record.state is TrialState.STOPPED
    assert record.reason.startswith("hopeless: H-mean 0.1000 after 4 epochs")
