from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.results import ranking
from orchestrator.results.ranking import (
    COLUMNS,
    LAST_COLUMNS,
    confirmed_hmean,
    confirmed_sd,
    how_far,
    leaders,
    rows,
    scored_pages,
)
from orchestrator.trials.records import TrialRecord, TrialState, packed


def interval(scores: list[float] | None, **options: float) -> tuple[float, float] | None:
    return ranking.interval(packed(scores), **options)


def test_interval_needs_two_pages() -> None:
    assert interval(None) is None
    assert interval([]) is None
    assert interval([0.9]) is None


def test_pages_without_a_score_are_left_out_of_the_interval() -> None:
    nan = float("nan")
    assert interval([nan, 0.1, 0.5, nan, 0.9]) == interval([0.1, 0.5, 0.9])
    assert interval([nan, 0.9]) is None
    record = TrialRecord("1", TrialState.FINISHED, page_hmeans=(nan, 0.5, 0.7))
    assert (scored_pages(record), scored_pages(replace(record, page_hmeans=None))) == (2, 0)


def test_equal_pages_leave_no_doubt() -> None:
    assert interval([0.75] * 8) == pytest.approx((0.75, 0.75))


def test_interval_agrees_with_the_normal_approximation() -> None:
    scores = np.random.default_rng(1).uniform(0.8, 1.0, 400)
    half = 1.96 * scores.std() / math.sqrt(len(scores))
    low, high = interval(scores.tolist()) or (0, 0)
    assert low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_two_pages_give_the_three_possible_means() -> None:
    # Means 0, 0.5 and 1 have probabilities 1/4, 1/2 and 1/4: 95 % covers all of them.
    assert interval([0.0, 1.0]) == (0.0, 1.0)
    assert interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


def test_interval_is_repeatable() -> None:
    scores = [0.1, 0.5, 0.9, 0.3]
    assert interval(scores) == interval(scores)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
@example([0.7329294924669997] * 2)  # the lower limit came out above the upper one by rounding
def test_interval_lies_within_the_pages(scores: list[float]) -> None:
    low, high = interval(scores) or (math.nan, math.nan)
    assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9


def test_rows_carry_the_interval_and_missing_parameters_are_none() -> None:
    record = TrialRecord(
        "1", TrialState.FINISHED, {"a": 2}, hmean=0.5, page_hmeans=(0.5, 0.5), params_m=1.5
    )
    (row,) = rows([record], ["a", "b"])
    assert (row["hmean_low"], row["hmean_high"]) == (0.5, 0.5)
    assert (row["a"], row["b"], row["params_m"], row["rank"]) == (2, None, 1.5, 1)


def test_rows_keep_the_order_of_columns() -> None:
    (row,) = rows([TrialRecord("1", TrialState.PENDING)], ["b", "a"])
    assert tuple(row) == (*COLUMNS, "b", "a", *LAST_COLUMNS)


def test_rows_say_who_is_tied_and_who_is_on_the_front() -> None:
    def trial(name: str, scores: list[float] | None, size: float | None) -> TrialRecord:
        mean = 0.1 if scores is None else sum(scores) / len(scores)
        pages = None if scores is None else tuple(scores)
        return TrialRecord(
            name, TrialState.FINISHED, hmean=mean, page_hmeans=pages, params_m=size, latency_ms=5.0
        )

    records = [
        trial("far", [0.5] * 8, 3.0),
        trial("first", [0.9] * 8, 20.0),
        trial("near", [0.9] * 7 + [0.8], 20.0),
        trial("no pages", None, None),
        TrialRecord("stopped", TrialState.STOPPED, hmean=0.99, page_hmeans=(0.9,) * 8, params_m=1),
    ]
    shown = {row["trial"]: row for row in rows(records, [])}
    assert list(shown) == ["first", "near", "far", "no pages", "stopped"]
    assert [row["tied"] for row in shown.values()] == [True, True, False, None, None]
    # Against the next: one page differs; all 8 of 256 patterns in one direction; no pages.
    assert [row["p_next"] for row in shown.values()] == [1, 2 / 256, None, None, None]
    assert [row["pareto"] for row in shown.values()] == [True, False, True, False, None]
    assert shown["first"]["latency_ms"] == 5.0
    by_score = rows(records, [], [("hmean", "max")])
    assert [row["pareto"] for row in by_score] == [True, False, False, False, None]


def paged(name: str, level: float, *confirmed: float) -> TrialRecord:
    """A finished trial that has the same score on each of eight pages."""
    return TrialRecord(
        name, TrialState.FINISHED, hmean=level, page_hmeans=(level,) * 8, confirmed=confirmed
    )


def test_pages_of_first_trainings_say_nothing_about_an_order_by_new_seeds() -> None:
    # "steady" was worse than "lucky" on each page of the first training, and is above it.
    records = [
        paged("lucky", 0.9, 0.6),
        paged("steady", 0.8, 0.7),
        paged("a", 0.7),
        paged("b", 0.6),
    ]
    shown = rows(records, [])
    assert [row["trial"] for row in shown] == ["steady", "lucky", "a", "b"]
    assert [row["p_next"] for row in shown] == [None, None, 2 / 256, None]
    assert [row["tied"] for row in shown] == [None] * 4


def test_mean_and_deviation_of_new_seeds_by_hand() -> None:
    three, one, none = paged("a", 0.9, 0.5, 0.6, 0.7), paged("a", 0.9, 0.5), paged("a", 0.9)
    assert confirmed_hmean(three) == pytest.approx(0.6)
    assert confirmed_sd(three) == pytest.approx(0.1)  # sqrt((0.01 + 0 + 0.01) / 2)
    assert (confirmed_hmean(one), confirmed_sd(one)) == (0.5, None)
    assert (confirmed_hmean(none), confirmed_sd(none)) == (None, None)


@given(st.lists(st.lists(st.floats(0, 1), max_size=3), min_size=1, max_size=8))
def test_trials_fall_in_what_is_expected_of_them(seeds: list[list[float]]) -> None:
    records = [paged(f"{i:05d}", 0.1 * i, *scores) for i, scores in enumerate(seeds)]
    shown = rows(records, [])
    column = [row["hmean" if row["expected_hmean"] is None else "expected_hmean"] for row in shown]
    assert all(np.diff(column) <= 0)
    assert {row["expected_hmean"] is None for row in shown} == {not any(seeds)}


def test_how_far_a_trial_is_in_words() -> None:
    paused = TrialRecord("1", TrialState.PAUSED, epochs=3)
    assert how_far(paused, 27) == "paused after epoch 3 of 27"
    assert how_far(paged("a", 0.9), 27) == "finished"


def test_leaders_are_the_best_by_their_first_scores():
    records = [
        TrialRecord("00000", TrialState.FINISHED, hmean=0.5),
        TrialRecord("00001", TrialState.STOPPED, hmean=0.99),
        TrialRecord("00002", TrialState.FINISHED, hmean=0.9, confirmed=(0.1,)),
        TrialRecord("00003", TrialState.FINISHED, hmean=0.7, confirmed=(0.95, 0.95)),
        TrialRecord("00004", TrialState.FINISHED),
    ]
    assert [r.trial for r in leaders(records, 2)] == ["00002", "00003"]
    assert [r.trial for r in leaders(records, 9)] == ["00002", "00003", "00000"]
    assert leaders(records[1:2], 3) == []
    assert leaders(records, 0) == []
