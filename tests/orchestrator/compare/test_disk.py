"""What trials keep on the disk, and which keep nothing, by hand; and what no limit can ask for."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from orchestrator.compare.disk import held, require_room, to_give_up
from orchestrator.compare.halving import Place
from orchestrator.results.ranking import best
from orchestrator.trials.records import TrialRecord, TrialState

MB = 1e6
HALVES = [Fraction(1, 2)] * 3
RUNNING, PAUSED, FINISHED, STOPPED, FAILED = (
    *(TrialState.RUNNING, TrialState.PAUSED, TrialState.FINISHED),
    *(TrialState.STOPPED, TrialState.FAILED),
)


def of(number: int, state: TrialState, hmean: float | None = 0.5, **more) -> TrialRecord:
    """A trial of a million weights, 4 MB of them."""
    values = {"params_m": 1.0, "checkpoint": f"trials/{number}/checkpoint/best"} | more
    return TrialRecord(f"{number:05}", state, hmean=hmean, **values)


def names(records, places=None, *, shares=HALVES, most_mb=0.0, needed=()) -> list[int]:
    found, _ = to_give_up(records, places or {}, shares, most_mb * MB, needed)
    return [int(record.trial) for record in found]


def test_a_state_is_four_times_the_weights_and_the_best_ones_lie_beside_it():
    every = (RUNNING, PAUSED, FINISHED, STOPPED, FAILED)
    sizes = held([of(i, state) for i, state in enumerate(every)])
    assert [sizes[f"{i:05}"] / MB for i in range(5)] == [56, 20, 4, 4, 4]


def test_what_has_not_told_its_size_counts_as_the_largest():
    unknown = of(0, RUNNING, None, params_m=None, checkpoint=None)
    assert held([unknown]) == {"00000": 0.0}
    assert held([unknown, of(1, STOPPED, params_m=10.0)])["00000"] == 14 * 40 * MB


def test_weights_that_are_deleted_take_nothing_and_are_not_deleted_again():
    records = [of(0, FINISHED, 0.9), of(1, STOPPED, checkpoint=None), of(2, STOPPED, 0.1)]
    assert "00001" not in held(records)
    assert names(records) == [2]


def test_the_weights_of_those_that_are_over_go_first_and_finished_ones_last():
    records = [
        *(of(0, FINISHED, 0.9), of(1, FINISHED, 0.3), of(2, STOPPED, 0.6), of(3, STOPPED, 0.4)),
        *(of(4, FAILED, 0.8), of(5, PAUSED, 0.2), of(6, PAUSED, 0.1), of(7, RUNNING, 0.1)),
    ]
    places = {5: Place(1, 4, 5), 6: Place(1, 5, 5)}
    assert names(records, places) == [4, 3, 2, 6, 5, 1]
    # 4 MB for each that is over, 20 for a paused one, 56 for that at work, and 8 for the run's own
    # best.
    assert names(records, places, most_mb=124) == []
    assert names(records, places, most_mb=123) == [4]
    assert names(records, places, most_mb=112) == [4, 3, 2]
    assert names(records, places, most_mb=92) == [4, 3, 2, 6]
    assert names(records, places, most_mb=123, needed=[4]) == [3]


def test_what_is_left_over_the_limit_is_told():
    records = [of(0, FINISHED, 0.9), of(1, STOPPED, 0.6)]
    assert to_give_up(records, {}, HALVES, 16 * MB) == ([], 0.0)
    assert to_give_up(records, {}, HALVES, 5 * MB) == ([records[1]], 7 * MB)


def test_a_limit_that_no_trial_keeps_to_is_refused_and_one_that_some_pass_is_told():
    # Fourteen times the weights of a trial at work, and twice for `best/` of the run.
    sizes, told = {"small": 10_000_000, "large": 100_000_000}, []
    require_room(1.6, sizes, told.append)
    assert told == []
    require_room(0.16, sizes, told.append)
    assert told == [
        "budget.disk_gb=0.16: a trial with large may take 1.6 GB while it trains, so the limit is "
        "passed then; search.narrow keeps smaller networks"
    ]
    with pytest.raises(InputError, match=r"small, the smallest .* 0\.16 GB .*, got 0\.15; give"):
        require_room(0.15, sizes, told.append)


def test_the_best_of_a_rung_stay_paused():
    records = [of(i, PAUSED, 1 - i / 10) for i in range(9)]
    places = {i: Place(1, i + 1, 9) for i in range(9)}
    thirds = [Fraction(1, 3)] * 2
    # A third may go on, and the first in any case: the others wait for more to compare with.
    assert names(records, places, shares=thirds) == [8, 7, 6, 5, 4, 3]
    few = {i: Place(2, i + 1, 3) for i in range(3)}
    assert names(records[:3], few, shares=thirds) == []


def test_of_paused_trials_the_last_by_its_share_of_a_rung_goes_first():
    records = [of(0, PAUSED, 0.9), of(1, PAUSED, 0.8), of(2, PAUSED, 0.1), of(3, PAUSED, 0.95)]
    places = {0: Place(1, 9, 10), 1: Place(2, 4, 4), 2: Place(1, 10, 10), 3: Place(3, 1, 1)}
    assert names(records, places) == [2, 1, 0]


STATES = st.sampled_from([RUNNING, PAUSED, FINISHED, STOPPED, FAILED])


@given(
    st.lists(st.tuples(STATES, st.none() | st.floats(0, 1)), max_size=12),
    st.integers(0, 300),
)
def test_never_more_than_asked_for_and_never_the_best(trials, most_mb):
    records = [of(i, state, hmean) for i, (state, hmean) in enumerate(trials)]
    paused = [r for r in records if r.state is PAUSED]
    places = {int(r.trial): Place(1, i, len(paused)) for i, r in enumerate(paused, start=1)}
    found, over = to_give_up(records, places, HALVES, most_mb * MB)
    assert best(records) not in found
    assert all(record.state is not RUNNING for record in found)
    gone = {record.trial for record in found}
    left = {name: size for name, size in held(records).items() if name not in gone}
    spare = 8 if records else 0
    assert over == max(0.0, sum(left.values()) + spare * MB - most_mb * MB)
    if found:  # without the last of them it was too much
        assert sum(left.values()) + held(found[-1:])[found[-1].trial] + spare * MB > most_mb * MB
