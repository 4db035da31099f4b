"""The score as a power law of the number of training pages, and what it says of more pages.

The error, one minus the H-mean, is taken to be `a + b n^-c` at n pages, with a and b of 0 or more:
more pages never hurt, and no score is above 1. That is how errors of neural networks fall in many
tasks (Hestness et al., "Deep learning scaling is predictable, empirically", 2017; Rosenfeld et al.,
"A constructive prediction of the generalization error across scales", 2020). Three or four sizes do
not tell all three, so c is not fitted: every exponent in `EXPONENTS` is tried, for each a and b are
those of least squares, and the results are averaged.

The interval is of three doubts together: which pages were scored (a bootstrap of the validation
pages, the same ones for all sizes, since a hard page is hard at each of them), the luck of each
training, and the exponent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXPONENTS = np.linspace(0.3, 0.7, 9)
# The standard deviation of a training's H-mean over seeds, as a share of its error, before the
# sizes themselves have said how far they lie from a curve; and how many of these it counts for.
LUCK = 0.1
LUCK_COUNTS = 4
DRAWS = 4000
ENDS = (0.025, 0.975)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What `pages` are expected to give, and how much more that is than the largest size gave.

    The 95 % interval of `hmean` is for one training, scored on other pages of the same kind; that
    of `gain` for the mean over trainings.
    """

    pages: int
    hmean: float
    hmean_low: float
    hmean_high: float
    gain: float
    gain_low: float
    gain_high: float


def predict(counts: Sequence[int], hmeans: Array, *, at: int) -> Prediction:
    """What a training on `at` pages is expected to score.

    counts: `(K >= 2,)` different numbers of pages, the last of which is what `gain` starts from.
    hmeans: `(K, P >= 1)` the H-mean of each validation page after a training on so many. The draws
    come from a fixed seed, so that the same scores give the same figures.
    """
    errors, known = 1 - hmeans, np.asarray(counts, float)
    rng, pages = np.random.default_rng(0), errors.shape[1]
    measured = errors.mean(axis=1)
    luck = _luck(measured, known, rng)
    drawn = rng.multinomial(pages, np.full(pages, 1 / pages), size=DRAWS) @ errors.T / pages
    drawn = np.maximum(drawn + luck[:, None] * rng.standard_normal(drawn.shape), 0)
    gain = float(np.mean([gained(measured, known, at, c) for c in EXPONENTS]))
    # Neighbouring draws have different exponents, so that both are independent.
    gains = np.empty(DRAWS)
    for place, exponent in enumerate(EXPONENTS):
        some = slice(place, None, len(EXPONENTS))
        gains[some] = gained(drawn[some], known, at, exponent)
    scores = 1 - drawn[:, -1] + gains + luck * rng.standard_normal(DRAWS)
    low, high = np.clip(np.quantile(scores, ENDS), 0, 1)
    return Prediction(
        pages=at,
        hmean=min(float(1 - measured[-1] + gain), 1.0),
        hmean_low=float(low),
        hmean_high=float(high),
        gain=gain,
        gain_low=float(np.quantile(gains, ENDS[0])),
        gain_high=float(np.quantile(gains, ENDS[1])),
    )


def gained(errors: Array, counts: Array, at: int, exponent: float) -> Array:
    """`(...)` by how much the curve through `(..., K)` errors falls from the last count to `at`."""
    _, slope = fit(errors, counts, exponent)
    return np.asarray(slope * (counts[-1] ** -exponent - at**-exponent))


def fit(errors: Array, counts: Array, exponent: float) -> tuple[Array, Array]:
    """The `a` and `b` of least squares, both 0 or more, for `(..., K)` errors of 0 or more.

    Without the bounds they are those of a straight line over `x = n^-c`. Where one of them is
    below 0 it is 0 in the best fit, and the other one that of a line without it; both never are,
    since errors are not.
    """
    x = counts**-exponent
    x_mean, mean = x.mean(), errors.mean(axis=-1)
    slope = (errors - mean[..., None]) @ (x - x_mean) / ((x - x_mean) @ (x - x_mean))
    slope = np.maximum(slope, 0)
    floor = mean - slope * x_mean
    slope = np.where(floor < 0, errors @ x / (x @ x), slope)
    return np.maximum(floor, 0), slope


def _luck(measured: Array, counts: Array, rng: np.random.Generator) -> Array:
    """`(DRAWS,)` standard deviations of a training: as is usual, and as far as sizes lie apart.

    That is little to tell it from, so it is drawn: scaled inverse chi-square, the posterior of a
    variance from so many squares.
    """
    apart = []
    for exponent in EXPONENTS:
        floor, slope = fit(measured, counts, exponent)
        apart.append(np.sum((measured - floor - slope * counts**-exponent) ** 2))
    usual = LUCK * measured.min()
    squares = LUCK_COUNTS * usual**2 + np.mean(apart)
    known = LUCK_COUNTS + max(len(counts) - 2, 0)
    return np.asarray(np.sqrt(squares / rng.chisquare(known, DRAWS)))
