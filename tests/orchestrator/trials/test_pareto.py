from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from orchestrator.trials.pareto import (
    FIGURES,
    OBJECTIVES,
    SCORE_AND_SIZE,
    WAYS,
    Objectives,
    as_objectives,
    front,
    fronts,
    value_of,
)
from orchestrator.trials.records import TrialRecord, TrialState

FINISHED = TrialState.FINISHED
THREE: Objectives = (("hmean", "max"), ("params_m", "min"), ("latency_ms", "min"))
# Few values, so that equal figures and whole equal points are common.
FIGURE = st.one_of(st.none(), st.integers(0, 4).map(float), st.just(float("nan")))


@st.composite
def trials(draw: st.DrawFn) -> list[TrialRecord]:
    points = draw(st.lists(st.tuples(FIGURE, FIGURE, FIGURE, st.sampled_from(TrialState))))
    return [
        TrialRecord(str(i), state, hmean=h, params_m=m, latency_ms=t)
        for i, (h, m, t, state) in enumerate(points)
    ]


def values(record: TrialRecord) -> tuple[float | None, ...]:
    return (record.hmean, record.params_m, record.latency_ms)


def competes(record: TrialRecord) -> bool:
    return record.state is FINISHED and all(v is not None and v == v for v in values(record))


def dominates(one: TrialRecord, other: TrialRecord) -> bool:
    no_worse = (
        one.hmean >= other.hmean,
        one.params_m <= other.params_m,
        one.latency_ms <= other.latency_ms,
    )
    return all(no_worse) and values(one) != values(other)


@given(trials())
def test_nobody_on_the_front_is_dominated(records: list[TrialRecord]) -> None:
    chosen = front(records, THREE)
    assert all(competes(r) for r in chosen)
    assert not any(dominates(other, r) for r in chosen for other in records if competes(other))


@given(trials())
def test_everybody_off_the_front_is_dominated_by_somebody_on_it(
    records: list[TrialRecord],
) -> None:
    chosen = front(records, THREE)
    names = {r.trial for r in chosen}
    left = [r for r in records if competes(r) and r.trial not in names]
    assert all(any(dominates(one, r) for one in chosen) for r in left)


@given(trials(), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(records: list[TrialRecord], chance: random.Random) -> None:
    mixed = list(records)
    chance.shuffle(mixed)
    assert {r.trial for r in front(mixed, THREE)} == {r.trial for r in front(records, THREE)}


@given(trials())
def test_equal_points_share_their_place(records: list[TrialRecord]) -> None:
    points = {values(r) for r in front(records, THREE)}
    names = {r.trial for r in front(records, THREE)}
    assert all(r.trial in names for r in records if competes(r) and values(r) in points)


def test_smaller_models_may_score_less() -> None:
    small = TrialRecord("0", FINISHED, hmean=0.8, params_m=3.0)
    large = TrialRecord("1", FINISHED, hmean=0.9, params_m=30.0)
    larger = TrialRecord("2", FINISHED, hmean=0.9, params_m=40.0)
    unknown = TrialRecord("3", FINISHED, hmean=0.99)
    stopped = TrialRecord("4", TrialState.STOPPED, hmean=0.99, params_m=1.0)
    records = [large, unknown, small, larger, stopped]
    assert front(records, SCORE_AND_SIZE) == [large, small]
    assert front(records, [("hmean", "max")]) == [unknown]
    assert front([], SCORE_AND_SIZE) == []


@pytest.mark.parametrize("figure", ["tuned_hmean", "crossfit_hmean", "iou_hmean"])
def test_any_score_may_be_an_objective(figure: str) -> None:
    low, high = (TrialRecord(str(i), FINISHED, **{figure: v}) for i, v in enumerate((0.2, 0.7)))
    assert front([low, high], [(figure, "max")]) == [high]


def test_an_objective_may_be_computed() -> None:
    even = TrialRecord("0", FINISHED, hmean=0.8, page_hmeans=(0.8, 0.8))
    uneven = TrialRecord("1", FINISHED, hmean=0.8, page_hmeans=(1.0, 0.6))
    unknown = TrialRecord("2", FINISHED, hmean=0.99)
    records = [even, uneven, unknown]
    assert [value_of(r, "tail_hmean") for r in records] == [0.8, 0.6, None]
    assert front(records, as_objectives(["hmean", "tail_hmean"])) == [even]
    assert value_of(TrialRecord("3", FINISHED, hmean=float("nan")), "hmean") is None


@pytest.mark.parametrize("name", FIGURES)
def test_every_objective_has_a_title_and_a_value_of_any_record(name: str) -> None:
    assert OBJECTIVES[name].title
    assert WAYS[name] == OBJECTIVES[name].way
    assert value_of(TrialRecord("0", TrialState.PENDING), name) is None


def test_wrong_objectives_are_named() -> None:
    with pytest.raises(InputError, match="name at least one of hmean, tuned_hmean"):
        front([], [])
    with pytest.raises(InputError, match=r"must be figures out of hmean, .*, got 'colour'"):
        front([], [("colour", "max")])
    with pytest.raises(InputError, match="hmean must be 'max' or 'min', got 'up'"):
        front([], [("hmean", "up")])


def test_fronts_are_peeled_one_after_the_other():
    points = np.array([[3.0, 1.0], [2.0, 2.0], [2.0, 1.0], [1.0, 1.0], [3.0, 1.0]])
    assert fronts(points).tolist() == [0, 0, 1, 2, 0]
    assert fronts(np.zeros((0, 2))).tolist() == []


def test_each_figure_has_its_better_way():
    assert as_objectives(["hmean", "latency_ms"]) == (("hmean", "max"), ("latency_ms", "min"))
    with pytest.raises(InputError, match="'speed'"):
        as_objectives(["hmean", "speed"])
