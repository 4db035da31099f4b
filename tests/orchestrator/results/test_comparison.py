from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.results import comparison
from orchestrator.results.comparison import EXACT_PAGES, FLIPS, Standing, holm, ties
from orchestrator.trials.records import TrialRecord, TrialState, packed

NAN = float("nan")
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def finished(*pages: list[float] | None) -> list[TrialRecord]:
    return [
        TrialRecord(str(i), TrialState.FINISHED, page_hmeans=None if p is None else tuple(p))
        for i, p in enumerate(pages)
    ]


def paired_p(one: list[float] | None, other: list[float] | None) -> float | None:
    return comparison.paired_p(packed(one), packed(other))


def shifted(scores: list[float], differences: list[float]) -> list[float]:
    return [score - difference for score, difference in zip(scores, differences, strict=True)]


def enumerated_p(differences: list[float]) -> float:
    """The definition, pattern by pattern."""
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    sums = np.abs(patterns @ np.array(differences))
    return float((sums >= abs(sum(differences)) - 1e-12).mean())


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.1, 0.1, 0.1], 2 / 8),  # only all + and all - reach a sum of 0.3
        ([0.1, 0.1, -0.1], 1),  # every pattern has a sum of 0.1 or 0.3
        ([0.3, 0.2, -0.1], 4 / 8),  # 0.4 and 0.6, of either sign
        ([0.1, 0.1], 2 / 4),
        ([0.2, 0.0], 1),  # a page without a difference tells nothing
        ([0.1, 0.0, 0.1, 0.1, 0.0, 0.1, 0.1], 2 / 32),
        ([0.1] * 6, 2 / 64),
    ],
)
def test_p_values_computed_by_hand(differences: list[float], p: float) -> None:
    scores = [0.9, 0.8, 0.7, 0.6, 0.95, 0.85, 0.75][: len(differences)]
    assert paired_p(scores, shifted(scores, differences)) == p


def test_nothing_to_compare_is_none() -> None:
    assert paired_p(None, [0.5, 0.6]) is None
    assert paired_p([0.5, 0.6], None) is None
    assert paired_p([], []) is None
    assert paired_p([0.5], [0.6]) is None
    assert paired_p([0.5, NAN], [0.5, 0.6]) is None  # one page in common
    assert paired_p([0.5, NAN, 0.7], [NAN, 0.6, NAN]) is None


def test_only_pages_that_both_trials_have_are_paired() -> None:
    # One lacks the first page, the other the last: three are left, each 0.1 better, so 2 of 8
    # patterns. The four scores of each by position would pair a page with another one.
    one, other = [NAN, 0.9, 0.5, 0.8, 0.3], [0.7, 0.8, 0.4, 0.7, NAN]
    assert paired_p(one, other) == paired_p(other, one) == 2 / 8
    # A page that was seen only later is missing at the end of older trials.
    assert paired_p([0.9, 0.5, 0.8, 0.1], [0.8, 0.4, 0.7]) == 2 / 8


@given(st.data(), SCORES)
def test_pages_that_one_trial_lacks_change_nothing(data: st.DataObject, one: list[float]) -> None:
    other = data.draw(st.lists(st.floats(0, 1), min_size=len(one), max_size=len(one)))
    place = data.draw(st.integers(0, len(one)))
    with_more, without = [*one], [*other]
    with_more.insert(place, data.draw(st.floats(0, 1)))
    without.insert(place, NAN)
    assert paired_p(with_more, without) == paired_p(one, other)


@pytest.mark.parametrize("pages", [2, 5, EXACT_PAGES])
def test_all_patterns_agree_with_scipy(pages: int) -> None:
    differences = np.random.default_rng(pages).normal(0.02, 0.05, pages)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True
    )
    assert paired_p(differences.tolist(), [0.0] * pages) == pytest.approx(expected.pvalue)


@given(SCORES)
def test_identical_scores_give_one(scores: list[float]) -> None:
    assert paired_p(scores, list(scores)) == 1


@given(st.data(), SCORES)
def test_p_is_a_probability_whichever_comes_first(data: st.DataObject, one: list[float]) -> None:
    other = data.draw(st.lists(st.floats(0, 1), min_size=len(one), max_size=len(one)))
    p = paired_p(one, other)
    assert p is not None
    assert 0 < p <= 1
    assert paired_p(other, one) == p


def test_random_patterns_agree_with_all_patterns() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.02, 0.04):
        differences = rng.normal(shift, 0.05, EXACT_PAGES + 3).tolist()
        exact = enumerated_p(differences)
        sampled = paired_p(differences, [0.0] * len(differences))
        # Four standard errors of FLIPS draws.
        assert sampled == pytest.approx(exact, abs=4 * (exact * (1 - exact) / FLIPS) ** 0.5 + 1e-3)


def test_both_ways_agree_where_one_takes_over_from_the_other() -> None:
    differences = [0.05, 0.04, -0.01, 0.03, -0.02, 0.06, 0.02, 0.01, -0.03, 0.05, 0.07, -0.04]
    exact = paired_p(differences, [0.0] * EXACT_PAGES)
    assert exact == enumerated_p(differences)
    # One more page, whose difference is no more than rounding, makes the patterns random.
    assert paired_p([*differences, 1e-12], [0.0] * (EXACT_PAGES + 1)) == pytest.approx(
        exact, abs=0.01
    )


def test_clear_differences_get_p_values_below_those_of_the_draws() -> None:
    assert paired_p([0.9] * 400, [0.8] * 400) == pytest.approx(2 * np.exp(-200))
    # 16 equal differences: 2 of 65536 patterns; the bound must not be below that.
    p = paired_p([0.9] * 16, [0.8] * 16)
    assert p is not None
    assert p >= 2 / 2**16


def test_equal_trials_are_called_different_about_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(11)
    for pages in (10, 30):
        found = []
        for _ in range(600):
            difficulty = rng.beta(8, 1, pages)
            one, other = difficulty + rng.normal(0, 0.05, (2, pages))
            found.append(paired_p(one.tolist(), other.tolist()))
        assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.02)
        assert np.mean(np.array(found) < 0.5) == pytest.approx(0.5, abs=0.06)


def test_pairing_sees_what_intervals_cannot() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.uniform(0.5, 1.0, 60)
    p = paired_p(difficulty.tolist(), (difficulty - rng.uniform(0.0, 0.02, 60)).tolist())
    assert p is not None
    assert p < 0.001


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04: times 3, 2 and 1 is 0.03, 0.06, 0.04, and never falls.
    assert holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_ties_by_hand() -> None:
    best = [0.9, 0.8, 0.7, 0.6, 0.9, 0.8]
    near = shifted(best, [0.1, -0.1, 0.1, -0.1, 0.1, 0.0])
    far = shifted(best, [0.2] * 6)
    standings = ties(finished(best, near, far))
    # near: 5 pages differ, the sum is 0.1 and no pattern has a smaller one.
    # far: 2 of 64 patterns, times 2 for two comparisons is 0.0625: tied at 5 %, not at 10 %.
    assert [s.p_best for s in standings] == pytest.approx([1, 1, 4 / 64])
    assert [s.tied for s in standings] == [True, True, True]
    assert [s.tied for s in ties(finished(best, near, far), level=0.1)] == [True, True, False]
    assert standings[0].p_next == 1
    assert standings[1].p_next == paired_p(near, far)
    assert standings[2].p_next is None


def test_a_single_comparison_needs_no_correction() -> None:
    best = [0.9] * 6
    assert ties(finished(best, [0.8] * 6)) == [
        Standing(1.0, 2 / 64, True),
        Standing(2 / 64, None, False),
    ]


def test_trials_of_other_pages_are_left_out() -> None:
    best, near = [0.9] * 6 + [NAN] * 2, [0.8] * 6
    standings = ties(finished(best, [NAN] * 5 + [0.1, 0.2, 0.3], near, None))
    assert [s.tied for s in standings] == [True, None, False, None]
    assert [s.p_next for s in standings] == [None, None, None, None]
    assert standings[2].p_best == 2 / 64  # not doubled for trials that cannot be compared


def test_a_best_trial_without_pages_leaves_all_open() -> None:
    standings = ties(finished(None, [0.9, 0.8], [0.9, 0.8]))
    assert standings == [
        Standing(None, None, None),
        Standing(None, 1, None),
        Standing(None, None, None),
    ]
    assert ties([]) == []
    assert ties(finished([0.5])) == [Standing(None, None, None)]


def test_hundreds_of_trials_can_still_be_told_from_the_best() -> None:
    rng = np.random.default_rng(4)
    best = rng.uniform(0.7, 1.0, 100)
    others = [(best - rng.normal(0.1, 0.02, 100)).tolist() for _ in range(600)]
    standings = ties(finished(best.tolist(), *others))
    assert not any(s.tied for s in standings[1:])


def test_the_best_of_many_equal_trials_is_the_luckiest_one() -> None:
    """How often a search over equal trials calls one of them worse than the best."""
    rng = np.random.default_rng(5)
    shares = {}
    for trials in (2, 20):
        untied = 0
        for _ in range(100):
            pages = rng.beta(8, 1, 69) + rng.normal(0, 0.05, (trials, 69))
            order = sorted(pages.tolist(), key=sum, reverse=True)
            untied += not all(s.tied for s in ties(finished(*order)))
        shares[trials] = untied / 100
    assert shares[2] == pytest.approx(0.05, abs=0.05)
    assert 0.1 < shares[20] < 0.4
