"""The curve against hand-computed values, another solver, and curves that are known."""

from __future__ import annotations

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from orchestrator.page_parts import curve
from orchestrator.page_parts.curve import fit, gained, predict

COUNTS = np.array([120.0, 240.0, 480.0])
ERRORS = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(np.array)


def test_a_line_over_n_to_the_minus_a_half():
    # 0.02 + 0.4 / sqrt(n) at 4, 16 and 64 pages.
    floor, slope = fit(np.array([0.22, 0.12, 0.07]), np.array([4.0, 16.0, 64.0]), 0.5)
    assert (floor, slope) == (pytest.approx(0.02), pytest.approx(0.4))
    # From 0.02 + 0.4 / 8 at 64 pages to 0.02 + 0.4 / 16 at 256.
    gain = gained(np.array([0.22, 0.12, 0.07]), np.array([4.0, 16.0, 64.0]), 256, 0.5)
    assert gain == pytest.approx(0.025)


def test_errors_that_rise_with_the_pages_tell_of_no_gain():
    floor, slope = fit(np.array([0.1, 0.2, 0.3]), COUNTS, 0.5)
    assert (floor, slope) == (pytest.approx(0.2), 0)
    found = predict([120, 240, 480], np.array([[0.97], [0.96], [0.95]]), at=960)
    assert (found.gain, found.gain_low) == (0, 0)
    assert found.hmean == pytest.approx(0.95)


@examples(100)
@given(ERRORS, st.floats(0.3, 0.7))
def test_the_fit_is_that_of_nonnegative_least_squares(errors, exponent):
    floor, slope = fit(errors, COUNTS, exponent)
    # Columns of one size, for the other solver's sake.
    scale = COUNTS[0] ** -exponent
    columns = np.stack([np.ones(3), COUNTS**-exponent / scale], axis=1)
    expected = nnls(columns, errors)[0]
    assert [floor, slope * scale] == pytest.approx(list(expected), abs=1e-9)


@examples(30)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 12))
def test_whatever_the_scores_more_pages_never_hurt_and_no_score_is_above_one(seed, sizes, pages):
    hmeans = np.random.default_rng(seed).random((sizes, pages))
    counts = [30 << step for step in range(sizes)]
    found = predict(counts, hmeans, at=2 * counts[-1])
    assert 0 <= found.gain_low <= found.gain_high
    assert 0 <= found.hmean_low <= found.hmean_high <= 1
    assert found.gain >= 0
    assert hmeans[-1].mean() <= found.hmean + 1e-12
    assert found.hmean <= 1
    # The order of the pages tells nothing.
    turned = predict(counts, hmeans[:, ::-1], at=2 * counts[-1])
    assert turned.hmean == pytest.approx(found.hmean)


@examples(30)
@given(st.floats(0, 0.05), st.floats(0.05, 1), st.floats(0.3, 0.7))
def test_a_curve_without_luck_is_foretold_within_a_tenth_of_its_error(floor, slope, exponent):
    def error(pages: float) -> float:
        return floor + slope * pages**-exponent

    hmeans = np.array([[1 - error(n)] * 2 for n in COUNTS])
    found = predict([120, 240, 480], hmeans, at=960)
    assert found.gain == pytest.approx(error(480) - error(960), abs=error(480) / 10)
    assert found.gain_low <= error(480) - error(960) <= found.gain_high


def test_the_intervals_hold_what_comes(monkeypatch):
    monkeypatch.setattr(curve, "DRAWS", 500)
    rng = np.random.default_rng(0)
    within = []
    for _ in range(100):
        floor, exponent = rng.uniform(0, 0.01), rng.uniform(0.3, 0.7)
        errors = floor + 0.02 * (np.array([120, 240, 480, 960]) / 480) ** -exponent
        hard = rng.gamma(1, 1, 60) * np.exp(rng.normal(0, 0.5, (4, 60)) - 0.125)
        luck = 1 + 0.1 * rng.standard_normal(4)
        hmeans = 1 - np.clip((errors * luck)[:, None] * hard, 0, 1)
        found = predict([120, 240, 480], hmeans[:3], at=960)
        within.append(
            (
                found.gain_low <= errors[2] - errors[3] <= found.gain_high,
                found.hmean_low <= hmeans[3].mean() <= found.hmean_high,
            )
        )
    gains, scores = np.mean(within, axis=0)
    assert gains >= 0.85
    assert scores >= 0.95


def test_the_same_scores_give_the_same_figures():
    hmeans = np.random.default_rng(0).random((3, 9))
    assert predict([1, 2, 4], hmeans, at=8) == predict([1, 2, 4], hmeans, at=8)
