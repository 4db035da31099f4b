"""What is to be expected on new pages: by hand, at the edges, and where the truth is known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.results import new_pages as module
from orchestrator.results.new_pages import as_json, in_words, new_pages
from orchestrator.trials.records import TrialRecord, TrialState


def trial(name: str, pages: list[float], **values: object) -> TrialRecord:
    known = [score for score in pages if math.isfinite(score)]
    record = TrialRecord(name, TrialState.FINISHED, hmean=fmean(known), page_hmeans=tuple(pages))
    return replace(record, **values)  # type: ignore[arg-type]


def by_every_draw(pages: np.ndarray) -> float:
    """What the choice costs, over all draws of P pages with replacement, each as likely.

    The first trial is the best of all pages, and of equal ones the first is chosen.
    """
    count = pages.shape[1]
    costs = []
    for draw in itertools.product(range(count), repeat=count):
        unseen = sorted(set(range(count)) - set(draw))
        if unseen:
            chosen = pages[:, draw].mean(axis=1).round(9).argmax()
            costs.append((pages[0, unseen] - pages[chosen, unseen]).mean())
    return float(np.mean(costs))


def test_the_choice_is_made_again_without_each_page_by_hand() -> None:
    # Of four draws of two pages, one page twice leaves the other: (0, 0) takes b, which has 0.6 on
    # page 1 where a has 0.9; (1, 1) takes a, the first. (0, 1) and (1, 0) leave nothing to score.
    records = [trial("a", [0.7, 0.9]), trial("b", [0.8, 0.6])]
    found = new_pages(records)
    assert found is not None
    assert (found.trial, found.trials, found.pages, found.seen) == ("a", 2, 2, 0.8)
    assert found.hmean == pytest.approx(0.8 - (0.3 + 0.0) / 2, abs=0.02)


def test_the_cost_of_a_choice_is_that_of_every_draw() -> None:
    pages = np.array(
        [[0.9, 0.8, 0.7, 0.9, 0.6], [0.7, 0.9, 0.8, 0.8, 0.65], [0.5, 0.9, 0.9, 0.9, 0.6]]
    )
    found = new_pages([trial(name, row.tolist()) for name, row in zip("abc", pages, strict=True)])
    assert found is not None
    assert found.seen == pytest.approx(0.78)
    assert found.seen - found.hmean == pytest.approx(by_every_draw(pages), abs=0.003)


def test_a_trial_alone_has_its_mean() -> None:
    found = new_pages([trial("a", [0.5, 0.75, 1.0])])
    assert found is not None
    assert (found.hmean, found.trials) == (0.75, 1)
    assert found.low <= found.mean_low < 0.75 < found.mean_high <= found.high


def test_a_clear_winner_keeps_its_mean() -> None:
    records = [trial("a", [0.9, 0.95, 0.97]), trial("b", [0.3, 0.5, 0.4])]
    found = new_pages(records)
    assert found is not None
    assert found.hmean == found.seen


def test_pages_that_all_score_the_same_leave_nothing_open() -> None:
    found = new_pages([trial("a", [0.75] * 5), trial("b", [0.75] * 5)])
    assert found is not None
    values = (found.hmean, found.low, found.high, found.mean_low, found.mean_high)
    assert values == pytest.approx([0.75] * 5)


def test_copies_of_the_winner_cost_nothing() -> None:
    pages = [0.9, 0.8, 0.95, 0.7]
    found = new_pages([trial(name, pages) for name in "abcd"])
    assert found is not None
    assert (found.trial, found.hmean) == ("a", found.seen)


def test_two_pages_say_nearly_nothing() -> None:
    found = new_pages([trial("a", [0.6, 0.9])])
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


def test_pages_without_a_score_are_left_out() -> None:
    nan = math.nan
    with_gaps = [trial("a", [0.9, nan, 0.8, 0.7, nan]), trial("b", [nan, 0.2, 0.3, 0.1])]
    found = new_pages(with_gaps)
    assert found is not None
    # On any draw b has less than a, but where a has no page drawn; then it is not compared with
    # it on page 1, which a has no score of.
    alone = new_pages([trial("a", [0.9, 0.8, 0.7])])
    assert alone is not None
    assert (found.pages, found.seen) == (3, pytest.approx(0.8))
    assert 0.6 < found.hmean <= found.seen
    assert alone.hmean == pytest.approx(0.8)


def test_with_new_seeds_the_choice_is_by_what_they_let_expect() -> None:
    # By pages alone b would be chosen; its seeds say that this was luck. On these pages a is as far
    # ahead after the seeds as before, so it is chosen in every draw.
    a = trial("a", [0.8, 0.82, 0.81], confirmed=(0.81, 0.81))
    b = trial("b", [0.82, 0.84, 0.83], confirmed=(0.5, 0.5))
    found = new_pages([a, b])
    assert found is not None
    assert found.trial == "a"
    assert found.hmean == found.seen == pytest.approx(0.81)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "no trial has a score"),
        ([TrialRecord("0", TrialState.FAILED)], "no trial has a score"),
        (
            [TrialRecord("0", TrialState.FINISHED, hmean=0.5)],
            "the page scores of trial 0 were not kept",
        ),
        ([trial("0", [0.5])], "trial 0 has scores of fewer than two pages"),
        ([trial("0", [0.5, math.nan])], "trial 0 has scores of fewer than two pages"),
    ],
)
def test_where_nothing_can_be_said_it_says_why(records: list[TrialRecord], why: str) -> None:
    assert new_pages(records) is None
    assert as_json(records) == {"reason": why}
    assert in_words(records) == f"expected on new pages: not known, since {why}"


def test_a_trial_without_page_scores_is_no_candidate() -> None:
    records = [trial("a", [0.9, 0.8]), TrialRecord("b", TrialState.FINISHED, hmean=0.7)]
    found = new_pages(records)
    assert found is not None
    assert found.trials == 1
    assert as_json(records)["hmean"] == found.hmean == pytest.approx(0.85)


def test_in_words() -> None:
    pages = [0.9 + 0.002 * (i % 7) for i in range(30)]
    found = new_pages([trial("a", pages)])
    assert found is not None
    assert in_words([trial("a", pages)]) == (
        f"expected on new pages: {found.hmean:.4f} ({found.low:.4f} to {found.high:.4f}); "
        f"{found.hmean:.4f} on the pages it was chosen by"
    )


SCORES = st.lists(st.integers(0, 100).map(lambda i: i / 100), min_size=4, max_size=4)


@given(st.lists(SCORES, min_size=1, max_size=5))
def test_what_is_expected_lies_in_its_intervals_and_not_above_what_was_seen(
    pages: list[list[float]],
) -> None:
    found = new_pages([trial(str(i), scores) for i, scores in enumerate(pages)])
    assert found is not None
    assert 0 <= found.low <= found.hmean + 1e-9
    assert found.hmean <= found.seen
    assert found.hmean <= found.high + 1e-9 <= 1 + 1e-9
    assert found.mean_low <= found.hmean + 1e-9
    assert found.hmean <= found.mean_high + 1e-9


@pytest.mark.parametrize(
    ("trials", "own"),
    [(1, 0.01), (20, 0.01), (40, 0.03)],
    ids=["one", "many alike", "more that differ by page"],
)
def test_new_pages_come_as_expected_where_the_truth_is_known(
    trials: int, own: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores with a tail of hard pages: 200 searches, each on 30 pages and then on 30 new ones."""
    monkeypatch.setattr(module, "DRAWS", 400)
    rng = np.random.default_rng(0)
    errors, flattered, covered = [], [], []
    for _ in range(200):
        quality = 0.97 - np.abs(rng.normal(0, 0.003, (trials, 1)))
        hard = rng.gamma(0.6, 0.03, 230)
        scores = quality - hard - rng.gamma(0.5, own / 0.5**0.5, (trials, 230))
        known, later = scores[:, :30], scores[:, 30:]
        found = new_pages([trial(f"{i:02d}", row.tolist()) for i, row in enumerate(known)])
        assert found is not None
        new = later[int(found.trial)]
        covered.append(found.low <= new[:30].mean() <= found.high)
        errors.append(found.hmean - new.mean())
        flattered.append(found.seen - new.mean())
    assert np.mean(covered) >= 0.9
    assert abs(np.mean(errors)) < 0.0012  # three standard errors of 200 searches
    if trials > 1:
        assert np.mean(flattered) > 0.002
