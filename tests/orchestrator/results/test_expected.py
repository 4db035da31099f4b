"""What to expect of another seed: by hand, with little to estimate from, and over many searches."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.results.expected import expected_hmeans
from orchestrator.results.ranking import ranked
from orchestrator.trials.records import TrialRecord, TrialState


def trial(name: str, hmean: float | None, *confirmed: float, **values: object) -> TrialRecord:
    state = values.pop("state", TrialState.FINISHED)
    return TrialRecord(name, state, hmean=hmean, confirmed=confirmed)  # type: ignore[arg-type]


def test_scores_are_drawn_to_the_middle_by_hand() -> None:
    records = [trial("a", 0.90, 0.86, 0.88), trial("b", 0.80), trial("c", 0.84)]
    # Luck: deviations 0.02, -0.02 and 0 of a's seeds, 0.0008 over 2. Middle: 0.84. Above it the
    # variance is 2 * 0.06 ** 2 / 2 = 0.0036, below it 2 * 0.04 ** 2 / 2 = 0.0016, luck included.
    # a: the mean of three, 0.88, of which 0.0032 / (0.0032 + 0.0004 / 3) = 0.96 is kept.
    # b: 0.0012 / 0.0016 of 0.04 is kept.
    assert expected_hmeans(records) == pytest.approx({"a": 0.8784, "b": 0.81, "c": 0.84})


def test_a_far_better_score_is_not_hidden_by_a_confirmed_one() -> None:
    others = [trial("0", 0.69), trial("1", 0.695), trial("2", 0.70)]
    confirmed, far = trial("3", 0.71, 0.695, 0.705, 0.71), trial("4", 0.99)
    assert ranked([*others, confirmed, far])[:2] == [far, confirmed]
    # 2 * (0.01 ** 2 + 0.29 ** 2) / 4 is 0.0421, and luck no more than 0.00015 / 3.
    assert expected_hmeans([*others, confirmed, far])["4"] == pytest.approx(0.9897, abs=1e-4)


def test_a_slightly_better_score_is_behind_a_confirmed_one_where_seeds_differ_as_much() -> None:
    others = [trial("0", 0.69), trial("1", 0.695), trial("2", 0.70)]
    confirmed, lucky = trial("3", 0.71, 0.69, 0.705, 0.715), trial("4", 0.712)
    records = [*others, confirmed, lucky]
    assert ranked(records)[:2] == [confirmed, lucky]
    # Luck 0.00035 / 3, above 2 * (0.01 ** 2 + 0.012 ** 2) / 4 = 0.000122, so 16 / 3 millionths are
    # of settings: 0.0437 of 0.012 is kept, and of four seeds 0.1546 of 0.005.
    found = expected_hmeans(records)
    assert (found["4"], found["3"]) == pytest.approx((0.700525, 0.700773), abs=1e-6)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], {}),
        ([trial("a", 0.9), trial("b", 0.8)], {}),  # no new seeds
        ([trial("a", 0.9, 0.7)], {"a": 0.8}),  # nothing to be drawn to
        ([trial("a", 0.9, 0.9), trial("b", 0.8)], {"a": 0.9, "b": 0.8}),  # no luck
        ([trial("a", 0.9, 0.7), trial("b", 0.8)], {"a": 0.85, "b": 0.85}),  # nothing but luck
        ([trial("a", 0.5, 0.5), trial("b", 0.5)], {"a": 0.5, "b": 0.5}),
        ([trial("a", 0.9, 0.7), trial("b", None)], {"a": 0.8}),
        ([trial("a", 0.9, 0.7), trial("b", float("nan"))], {"a": 0.8}),
    ],
)
def test_what_cannot_be_estimated_by_hand(
    records: list[TrialRecord], expected: dict[str, float]
) -> None:
    assert expected_hmeans(records) == pytest.approx(expected)


def test_trials_that_are_not_finished_are_drawn_but_draw_not() -> None:
    finished = [trial("a", 0.90, 0.86, 0.88), trial("b", 0.80), trial("c", 0.84)]
    paused = trial("d", 0.94, state=TrialState.PAUSED)
    # 0.0032 / 0.0036 of 0.1 is kept.
    expected = expected_hmeans(finished) | {"d": 0.84 + 0.8 / 9}
    assert expected_hmeans([*finished, paused]) == pytest.approx(expected)


SCORE = st.integers(0, 100).map(lambda percent: percent / 100)


@given(st.lists(SCORE, min_size=1, max_size=12), st.lists(SCORE, min_size=1, max_size=3))
def test_trials_of_one_seed_stay_in_their_order_and_within_the_scores(
    firsts: list[float], new: list[float]
) -> None:
    records = [trial("new", max(firsts), *new), *(trial(str(i), s) for i, s in enumerate(firsts))]
    expected = expected_hmeans(records)
    found = [expected[str(i)] for i in np.argsort(firsts, kind="stable")]
    assert all(after >= before - 1e-12 for before, after in pairwise(found))
    low, high = min([*firsts, *new]), max(firsts + new)
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in expected.values())


Draw = Callable[[np.random.Generator, int], np.ndarray]


@pytest.mark.parametrize("begun", [20, 10])  # when leaders were confirmed; the rest came later
@pytest.mark.parametrize(
    "settings",
    [lambda rng, n: rng.normal(0.9, 0.01, n), lambda rng, n: 0.95 - rng.gamma(1, 0.03, n)],
    ids=["alike on both sides", "with a tail of bad ones"],
)
def test_the_best_by_expectation_is_better_than_the_best_confirmed_or_the_highest_score(
    settings: Draw, begun: int
) -> None:
    rng = np.random.default_rng(0)
    gains = np.zeros((400, 2))
    for run in range(len(gains)):
        true = settings(rng, 20)
        first, new = true + rng.normal(0, 0.01, 20), true + rng.normal(0, 0.01, (2, 20))
        leaders = np.argsort(-first[:begun])[:3].tolist()
        records = [
            trial(f"{i:05d}", first[i], *(new[:, i] if i in leaders else ())) for i in range(20)
        ]
        chosen = true[int(ranked(records)[0].trial)]
        confirmed = true[max(leaders, key=lambda i: new[:, i].mean())]
        gains[run] = chosen - confirmed, chosen - true[first.argmax()]
    assert (gains.mean(axis=0) > 0).all()
