"""Which trial goes on, by hand and against what must hold for any reports."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.compare.halving import (
    Halving,
    Place,
    Progress,
    all_promotable,
    kept,
    leader,
    next_stop,
    out_of_reach,
    places,
    promotable,
)

STEPS = (1, 3, 9)


def paused(number, *scores, steps=STEPS, **more):
    """A trial that reported these scores in its first epochs."""
    values = {epoch: score for epoch, score in enumerate(scores, start=1)}
    return Progress(number, steps, values, **more)


def one_in(number):
    """That share of any rung."""
    return [Fraction(1, number)] * 9


@pytest.mark.parametrize(
    ("epochs", "grace", "factor", "expected"),
    [
        (9, 1, 3, (1, 3, 9)),
        (30, 5, 3, (5, 15, 30)),
        (6, 2, 2, (2, 4, 6)),
        (4, 4, 2, (4,)),
        (1, 1, 2, (1,)),
        (100, 1, 10, (1, 10, 100)),
        (12, 1, 3, (1, 3, 12)),  # 9 to 12 is a growth by 1.33, less than the root of 3
        (12, 1, 2, (1, 2, 4, 8, 12)),  # 1.5 is more than that of 2
        (18, 2, 9, (2, 18)),
        (6, 5, 2, (5, 6)),  # the first one is asked for
    ],
)
def test_rungs_are_a_geometric_row_that_ends_with_the_training(epochs, grace, factor, expected):
    assert Halving(epochs, grace, factor).steps(None) == expected


def test_rays_asha_has_rungs_near_the_end():
    assert Halving(12, 1, 3, begins_anew=True).steps(None) == (1, 3, 9, 12)
    assert Halving(9, 1, 3, begins_anew=True).steps(None) == (1, 3, 9)


@pytest.mark.parametrize(
    ("epochs", "grace", "factor", "expected"),
    [
        (9, 1, 3, ("1/2", "1/3")),  # 1, 2 and 6 epochs from rung to rung
        (12, 1, 3, ("1/2", "2/9")),  # 1, 2 and 9
        (27, 3, 3, ("1/2", "1/3")),
        (12, 3, 3, ("1/3",)),
        (16, 1, 4, ("1/3", "1/4")),
        (30, 5, 3, ("1/2", "1/2")),  # 5, 10 and 15: two in three would be next to all
        (12, 1, 2, ("1/2", "1/2", "1/2", "1/2")),  # 1, 1, 2, 4 and 4
        (6, 5, 2, ("1/2",)),
        (30, 10, 9, ("1/8",)),  # one in two has cost as much, and one in nine is asked for
        (4, 4, 2, ()),
    ],
)
def test_each_rung_costs_as_much_as_the_next(epochs, grace, factor, expected):
    halving = Halving(epochs, grace, factor)
    assert halving.shares() == tuple(Fraction(share) for share in expected)
    assert halving.shares() == replace(halving, cost=lambda _: 2.0, every=3).shares()


@given(st.integers(1, 200), st.integers(1, 200), st.integers(2, 9))
def test_no_rung_costs_more_than_the_one_before(epochs, grace, factor):
    """Of a million trials; only near the end it costs less."""
    halving = Halving(epochs, min(grace, epochs), factor)
    there, since, costs = 1_000_000, 0, []
    for rung, share in zip(halving.steps(None), (*halving.shares(), Fraction(1)), strict=True):
        costs.append((there * (rung - since), share))
        there, since = kept(share, there), rung
    most = Fraction(1, max(2, factor - 1))
    for (one, share), (other, _) in pairwise(costs):
        assert other <= one
        assert share == most or other == pytest.approx(one, rel=0.01)


def test_rays_asha_lets_one_in_the_factor_go_on():
    halving = Halving(12, 1, 3, begins_anew=True)
    assert halving.shares() == (Fraction(1, 3),) * 3


def at_cost(cost):
    return Halving(27, grace=3, factor=3, cost=lambda _: cost).steps({})


def test_a_costly_trial_is_compared_after_fewer_epochs():
    assert at_cost(2.0) == (2, 4, 27)  # 1.5 and 4.5, to even
    assert at_cost(100.0) == (1, 1, 27)


def test_rungs_are_epochs_that_are_validated():
    assert Halving(10, grace=1, factor=3, every=4).steps(None) == (4, 4, 10)
    assert Halving(12, grace=2, factor=3, every=4).steps(None) == (4, 8, 12)


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(2, 9),
    st.floats(1, 100),
    st.integers(1, 7),
)
def test_rungs_never_fall_and_end_with_the_training(epochs, grace, factor, cost, every):
    halving = Halving(epochs, min(grace, epochs), factor, every, lambda _: cost)
    steps = halving.steps({})
    assert list(steps) == sorted(steps)
    assert steps[-1] == epochs
    assert all(step % every == 0 or step == epochs for step in steps)
    assert len(steps) == len(halving.steps(None))


def test_the_next_stop_is_the_first_rung_ahead():
    assert [next_stop(epoch, STEPS) for epoch in (0, 1, 2, 3, 8, 9)] == [1, 3, 3, 9, 9, 9]


def test_the_best_third_of_a_rung_goes_on():
    trials = [paused(i, score) for i, score in enumerate((0.1, 0.5, 0.3))]
    assert promotable(trials[:2], one_in(3)) is None
    assert promotable(trials, one_in(3)) == trials[1]


def test_a_promoted_trial_keeps_its_place_at_the_rung():
    # Trial 1 was promoted and may be bad by now: at the first rung it is still the best.
    trials = [paused(0, 0.1), paused(1, 0.5, 0.5, 0.5), paused(2, 0.3)]
    assert promotable(trials, one_in(3)) is None
    six = [*trials, *(paused(i, 0.2) for i in (3, 4, 5))]
    assert promotable(six, one_in(3)) == six[2]


def test_later_rungs_come_first():
    ahead = [paused(i, 0.1, 0.1, score) for i, score in enumerate((0.4, 0.6, 0.5))]
    behind = [paused(i, 0.9) for i in (3, 4, 5, 6)]
    assert promotable([*ahead, *behind], one_in(3)) == ahead[1]


@pytest.mark.parametrize("state", ["busy", "ended"])
def test_a_trial_that_runs_or_has_ended_counts_but_is_not_promoted(state):
    trials = [paused(i, score) for i, score in enumerate((0.1, 0.5, 0.3))]
    trials[1] = replace(trials[1], **{state: True})
    assert promotable(trials, one_in(3)) is None


def test_equal_scores_decide_nothing():
    trials = [paused(i, score) for i, score in enumerate((0.0, 0.0, 0.0, 0.0))]
    assert promotable(trials, one_in(2)) is None
    assert promotable([*trials[:3], paused(3, 0.1)], one_in(2)) == paused(3, 0.1)
    assert promotable([*trials[:2], paused(2, 0.1), paused(3, 0.1)], one_in(2)) == paused(2, 0.1)
    assert leader(trials, one_in(3)) == trials[0]


def test_of_equal_scores_the_lower_numbers_go_on():
    """As with a metric that is 1 for every trial: half of them must not wait for ever."""
    tied = [paused(i, 0.7) for i in range(60)]
    going_on = []
    while (chosen := promotable(tied, one_in(3))) is not None:
        going_on.append(chosen.number)
        tied[chosen.number] = replace(chosen, busy=True)
    assert going_on == list(range(20))


def test_the_leader_is_the_best_of_the_furthest():
    trials = [paused(0, 0.9), paused(1, 0.2, 0.2, 0.3), paused(2, 0.2, 0.2, 0.4)]
    assert leader(trials, one_in(3)) == trials[2]
    assert leader([*trials[:2], replace(trials[2], ended=True)], one_in(3)) == trials[1]
    assert leader([], one_in(3)) is None
    assert promotable([], one_in(3)) is None


def test_with_more_objectives_those_on_the_first_front_go_on():
    # Trial 0 is the fastest, 2 the best; 1 is worse than 2 in both.
    trials = [
        paused(0, 0.1, others={1: (-1.0,)}),
        paused(1, 0.4, others={1: (-9.0,)}),
        paused(2, 0.5, others={1: (-8.0,)}),
        paused(3, 0.0, others={1: (-9.0,)}),
    ]
    assert promotable(trials, one_in(2)) == trials[2]
    trials[2] = replace(trials[2], busy=True)
    assert promotable(trials, one_in(2)) == trials[0]


def test_a_lost_report_of_a_rung_is_stood_for_by_the_next():
    trial = Progress(0, STEPS, {4: 0.5, 5: 0.6})
    assert [trial.at(rung) for rung in (0, 1, 2)] == [0.5, 0.5, None]


SCORES = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=40, unique=True)


@given(SCORES, st.integers(2, 5))
def test_running_to_rest_trains_a_share_at_each_rung(scores, factor):
    """Promote until nothing can be: each rung holds exactly the best of the one before."""
    halving = Halving(factor**2, grace=1, factor=factor)
    steps, (first, second) = halving.steps(None), halving.shares()
    trials = {i: paused(i, score, steps=steps) for i, score in enumerate(scores)}
    while (chosen := promotable(list(trials.values()), halving.shares())) is not None:
        stop = next_stop(chosen.epoch, steps)
        values = dict.fromkeys(range(1, stop + 1), chosen.values[1])
        trials[chosen.number] = replace(chosen, values=values)
    reached = [sum(t.epoch >= step for t in trials.values()) for step in steps]
    on = math.floor(len(scores) * first)
    assert reached == [len(scores), on, math.floor(on * second)]
    best = sorted(trials, key=lambda i: (-scores[i], i))
    assert {i for i, t in trials.items() if t.epoch > 1} == set(best[: reached[1]])


COSTLY = (1, 1, 1, 27)  # nine times the work of an epoch of (1, 3, 9, 27) or more


def test_a_costly_trial_reaches_no_rung_that_it_has_not_earned():
    cheap = [paused(i, 0.1 * i, steps=(1, 3, 9, 27)) for i in range(1, 4)]
    costly = paused(9, 0.25, steps=COSTLY)  # second of four at the first rung
    assert promotable([*cheap, costly], one_in(3)) == cheap[2]
    best = replace(costly, values={1: 0.9})  # first of four, and alone at the second
    assert promotable([*cheap, best], one_in(3)) is None
    # With more of them it is in the best third of every rung, the last one too.
    ahead = [paused(i, *[0.5] * 9, steps=(1, 3, 9, 27), ended=True) for i in (10, 11)]
    assert promotable([*ahead, *cheap, best, paused(12, 0.0, steps=COSTLY)], one_in(3)) == best
    worse = replace(best, values={1: 0.4})
    assert promotable([*ahead, *cheap, worse], one_in(3)) is None


@given(SCORES, st.integers(2, 4), st.integers(0, 2**16))
def test_costly_trials_are_selected_like_cheap_ones(scores, factor, costs):
    """Whatever the work of each, only those in the best share of the first rung go beyond it."""
    halving = Halving(epochs=factor**3, grace=1, factor=factor, cost=lambda p: p["cost"])
    trials = {}
    for i, score in enumerate(scores):
        cost = float(factor ** (2 * (costs >> i % 16 & 1)))  # all rungs but the last at epoch 1
        steps = halving.steps({"cost": cost})
        trials[i] = Progress(i, steps, {1: score})
    while (chosen := promotable(list(trials.values()), one_in(factor))) is not None:
        stop = next_stop(chosen.epoch, chosen.steps)
        values = dict.fromkeys(range(1, stop + 1), scores[chosen.number])
        trials[chosen.number] = replace(chosen, values=values)
    best_first = sorted(trials, key=lambda i: (-scores[i], i))
    beyond = {i for i, trial in trials.items() if trial.epoch > 1}
    assert beyond <= set(best_first[: len(scores) // factor])
    finished = [i for i, trial in trials.items() if trial.epoch == factor**3]
    assert len(finished) >= len([s for s in scores if s > 0]) // factor**3
    assert len(finished) <= len(scores) // factor


def test_a_halving_gives_each_trial_its_rungs():
    halving = Halving(epochs=9, grace=1, factor=3, cost=lambda params: params["cost"])
    assert halving.steps({"cost": 1.0}) == (1, 3, 9)
    assert halving.steps({"cost": 3.0}) == (1, 1, 9)
    assert halving.steps(None) == (1, 3, 9)
    assert Halving(epochs=9, grace=1, factor=3).steps({}) == (1, 3, 9)


def test_each_trial_stands_at_the_last_rung_that_it_got_to():
    trials = [
        paused(0, 0.1, 0.2, 0.3),  # promoted while it was the best
        paused(1, 0.5),
        paused(2, 0.4, ended=True),
        paused(3),
        paused(4, 0.3),
    ]
    assert places(trials, one_in(3)) == {
        0: Place(rung=2, rank=1, of=1),
        1: Place(rung=1, rank=1, of=4),
        2: Place(rung=1, rank=2, of=4),
        4: Place(rung=1, rank=3, of=4),
    }
    assert str(places(trials, one_in(3))[2]) == "rank 2 of 4 at rung 1"
    assert places([], one_in(3)) == {}


def test_what_is_behind_all_that_a_rung_may_ever_promote_is_out_of_reach():
    # 6 are at the first rung and 3 may yet come: 9 / 3 go on, of which 3 are there with more.
    here = [paused(i, 0.1 * (6 - i)) for i in range(6)]
    assert [t.number for t in out_of_reach(here, one_in(3), more=3)] == [3, 4, 5]
    # One more than 9 promotes no fourth, and 12 do: until 12 may come, number 3 is done for.
    assert [t.number for t in out_of_reach(here, one_in(3), more=5)] == [3, 4, 5]
    assert [t.number for t in out_of_reach(here, one_in(3), more=6)] == [4, 5]
    # Those at work before the rung may come too; those that failed on the way do not.
    assert [t.number for t in out_of_reach([*here, *[paused(7)] * 6], one_in(3), more=0)] == [4, 5]
    gone = [paused(7, ended=True)] * 6
    assert [t.number for t in out_of_reach([*here, *gone], one_in(3), more=0)] == [3, 4, 5]


def test_who_may_come_to_a_later_rung_comes_from_the_one_before():
    # Of seven three may go on, and four have. Of these two may, as no other comes there.
    there = [paused(i, 0.9, 0.9, 0.9 - i / 100) for i in range(4)]
    here = [paused(4 + i, 0.5 - i / 100) for i in range(3)]
    assert [t.number for t in out_of_reach([*there, *here], one_in(2), more=0)] == [4, 5, 6, 2, 3]
    # Of ten five may: number 4 too. With three new ones eight may get there, and four go on.
    assert [t.number for t in out_of_reach([*there, *here], one_in(2), more=3)] == [5, 6]
    at_work = [replace(trial, busy=True) for trial in [*there, *here]]
    assert out_of_reach(at_work, one_in(2), more=0) == []


def test_the_best_of_a_rung_are_never_out_of_reach():
    # Three trials fill no rung of four, and one of them is to be trained to the end.
    few = [paused(0, 0.1), paused(1, 0.2), paused(2, 0.3)]
    assert out_of_reach(few, one_in(4), more=0) == []


@pytest.mark.parametrize(
    "other",
    [
        paused(9, 0.9, steps=(1, 2, 9)),
        paused(9, 0.9, others={1: (0.5,)}),
    ],
)
def test_where_ranks_may_get_better_nothing_is_out_of_reach(other):
    here = [paused(i, 0.1 * (6 - i)) for i in range(6)]
    assert out_of_reach([*here, other], one_in(3), more=0) == []
    twice = [replace(trial, steps=(1, 1, 9)) for trial in here]
    assert out_of_reach(twice, one_in(3), more=0) == []
    assert out_of_reach([Progress(0, ())], 3, more=0) == []


SHARES = st.fractions(Fraction(1, 5), Fraction(1, 2), max_denominator=9)


@given(st.data(), st.integers(1, 40), st.tuples(SHARES, SHARES))
def test_what_is_out_of_reach_is_never_promoted_later(data, total, shares):
    """Any order of reports and proposals, with failures on the way."""
    trials: dict[int, Progress] = {}
    done: set[int] = set()
    while True:
        now = list(trials.values())
        promoted = {t.number for t in all_promotable(now, shares)}
        assert not promoted & done
        done |= {t.number for t in out_of_reach(now, shares, total - len(trials))}
        busy = [t for t in now if t.busy]
        chances = ["report"] * bool(busy) + ["promote"] * bool(promoted)
        chances += ["propose"] * (len(trials) < total)
        if not chances:
            break
        what = data.draw(st.sampled_from(chances))
        if what == "propose":
            trials[len(trials)] = Progress(len(trials), STEPS, {}, busy=True)
        elif what == "promote":
            number = data.draw(st.sampled_from(sorted(promoted)))
            trials[number] = replace(trials[number], busy=True)
        else:
            trial = data.draw(st.sampled_from(busy))
            score = data.draw(st.integers(0, 5)) / 5
            values = {**trial.values, next_stop(trial.epoch, STEPS): score}
            fails = data.draw(st.booleans()) and data.draw(st.booleans())
            ended = fails or max(values) == STEPS[-1]
            trials[trial.number] = Progress(trial.number, STEPS, values, ended=ended)
    last = leader(list(trials.values()), shares)
    assert last is None or last.number not in done or any(t.ended for t in trials.values())
