"""What to expect at a point nobody has tried, by those that were: a Gaussian process.

Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006: posterior of chapter 2,
Matérn kernel of 4.2, marginal likelihood of 5.4. A length scale for each setting says how much it
matters: along a long one values hardly change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]

LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # ends of a range lie 1 apart
NOISES = (0.03, 0.1, 0.3)  # variances; that of the values is 1
# Before anything is known: log-normal, with these medians and a spread of 1 in the logarithm.
LIKELY_LENGTH, LIKELY_NOISE = 0.8, 0.1
SWEEPS = 2


@dataclass(frozen=True)
class Scales:
    """How far values reach along each setting, and the variance of what no setting explains."""

    lengths: tuple[float, ...]
    noise: float

    @property
    def log_prior(self) -> float:
        """How likely they are before any value is known, up to a constant."""
        away = [math.log(length / LIKELY_LENGTH) for length in self.lengths]
        return -sum(x * x for x in (*away, math.log(self.noise / LIKELY_NOISE))) / 2


class GaussianProcess:
    """Values at points, and what follows for others.

    points: an array `(N, d)` for each setting, N points by d numbers (see `points.as_numbers`).
    values: `(N,)`, of mean 0 and variance 1.
    """

    def __init__(
        self, points: Sequence[Array], values: Array, scales: Scales | None = None
    ) -> None:
        self._points, self._values = list(points), values
        self.scales = scales or likely_scales(points, values)
        covariance = _kernel(_distances(points, points), self.scales.lengths)
        covariance[np.diag_indices(len(values))] += self.scales.noise
        self._factor = cho_factor(covariance, lower=True)
        self._solved = cho_solve(self._factor, values)

    def predict(self, points: Sequence[Array]) -> tuple[Array, Array]:
        """Mean and standard deviation at M points, `(M,)` each, without the noise."""
        between = _kernel(_distances(points, self._points), self.scales.lengths)
        explained = solve_triangular(self._factor[0], between.T, lower=True)
        variance = 1 - (explained**2).sum(axis=0)
        return between @ self._solved, np.sqrt(np.maximum(variance, 0))

    def believing(self, points: Sequence[Array]) -> GaussianProcess:
        """The same after values at further points that came out as they are expected.

        For points that are being tried: nothing is known of them, and yet there is less to learn
        near them (Ginsbourger et al., "Kriging is well-suited to parallelize optimization", 2010).
        """
        both = [np.concatenate(pair) for pair in zip(self._points, points, strict=True)]
        values = np.concatenate([self._values, self.predict(points)[0]])
        return GaussianProcess(both, values, self.scales)


def likely_scales(points: Sequence[Array], values: Array) -> Scales:
    """The scales of a grid under which the values are most likely, one changed at a time."""
    distances = _distances(points, points)
    best = Scales((1.0,) * len(distances), LIKELY_NOISE)
    highest = _log_likelihood(distances, values, best)
    for _ in range(SWEEPS):
        before = best
        for place in range(len(distances) + 1):
            for scales in _changed(best, place):
                if (now := _log_likelihood(distances, values, scales)) > highest:
                    best, highest = scales, now
        if best == before:
            break
    return best


def _changed(scales: Scales, place: int) -> list[Scales]:
    """The scales with another length at a place, or with another noise behind the last one."""
    lengths, noise = scales.lengths, scales.noise
    if place == len(lengths):
        return [Scales(lengths, other) for other in NOISES if other != noise]
    return [
        Scales((*lengths[:place], other, *lengths[place + 1 :]), noise)
        for other in LENGTHS
        if other != lengths[place]
    ]


def _log_likelihood(distances: Array, values: Array, scales: Scales) -> float:
    """Of the values under the scales, times what was likely before, up to a constant."""
    covariance = _kernel(distances, scales.lengths)
    covariance[np.diag_indices(len(values))] += scales.noise
    factor = cholesky(covariance, lower=True)
    white = solve_triangular(factor, values, lower=True)
    return float(-white @ white / 2 - np.log(np.diag(factor)).sum() + scales.log_prior)


def _distances(left: Sequence[Array], right: Sequence[Array]) -> Array:
    """`(P, N, M)` squared distances by each of P settings."""
    return np.stack([cdist(a, b, "sqeuclidean") for a, b in zip(left, right, strict=True)])


def _kernel(distances: Array, lengths: Sequence[float]) -> Array:
    """`(N, M)` covariances: Matérn with smoothness 5/2."""
    weights = 1 / np.square(lengths)
    d = np.sqrt(5 * np.tensordot(weights, distances, axes=1))
    return (1 + d + d * d / 3) * np.exp(-d)
