"""The posterior against the textbook's formula and by hand, and which scales are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.propose.gaussian_process import GaussianProcess, Scales, likely_scales


def line(*values):
    """Points along one setting."""
    return [np.array(values, float)[:, None]]


def matern(distance):
    d = math.sqrt(5) * abs(distance)
    return (1 + d + d * d / 3) * math.exp(-d)


def test_one_value_is_believed_by_its_noise():
    model = GaussianProcess(line(0.2), np.array([1.5]), Scales((2.0,), 0.3))
    mean, deviation = model.predict(line(0.2, 1.0))
    near = matern(0.8 / 2)
    assert mean == pytest.approx([1.5 / 1.3, 1.5 * near / 1.3])
    assert deviation**2 == pytest.approx([1 - 1 / 1.3, 1 - near**2 / 1.3])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_the_posterior_is_that_of_the_joint_normal(seed, count):
    """By the inverse of the whole covariance, instead of its factor."""
    rng = np.random.default_rng(seed)
    points = [rng.random((count + 3, 1)), rng.random((count + 3, 3))]
    scales, values = Scales((0.5, 4.0), 0.1), rng.standard_normal(count)
    covariance = np.empty((count + 3, count + 3))
    for i in range(count + 3):
        for j in range(count + 3):
            parts = [(a[i] - a[j]) / length for a, length in zip(points, (0.5, 4.0), strict=True)]
            covariance[i, j] = matern(math.hypot(*np.concatenate(parts)))
    known, new = slice(0, count), slice(count, None)
    gain = covariance[new, known] @ np.linalg.inv(covariance[known, known] + 0.1 * np.eye(count))
    mean, deviation = GaussianProcess([a[known] for a in points], values, scales).predict(
        [a[new] for a in points]
    )
    assert mean == pytest.approx(gain @ values, abs=1e-9)
    left = covariance[new, new] - gain @ covariance[known, new]
    assert deviation**2 == pytest.approx(np.diag(left), abs=1e-9)


def test_what_is_being_tried_is_expected_as_before_and_less_is_to_be_learnt_there():
    points, values = line(0.0, 0.5, 1.0), np.array([-1.0, 1.2, 0.0])
    model = GaussianProcess(points, values, Scales((0.5,), 0.1))
    believing = model.believing(line(0.7))
    at = line(0.0, 0.3, 0.7, 0.9)
    (before, wide), (after, narrow) = model.predict(at), believing.predict(at)
    assert after == pytest.approx(before)
    assert (narrow < wide).all()
    assert wide[2] - narrow[2] == max(wide - narrow)


def test_the_scales_tell_a_setting_that_matters_from_one_that_does_not():
    rng = np.random.default_rng(0)
    points = [rng.random((40, 1)), rng.random((40, 1))]
    values = np.sin(6 * points[0][:, 0])
    values = (values - values.mean()) / values.std()
    found = likely_scales(points, values)
    assert found.lengths[0] < 1 < found.lengths[1]
    assert found.noise == 0.03
    noise = likely_scales(points, rng.standard_normal(40))
    assert noise.noise == 0.3


def test_without_anything_to_tell_the_scales_are_the_likely_ones():
    found = likely_scales(line(0.5), np.zeros(1))
    assert found == Scales((1.0,), 0.1)
    assert found.log_prior == pytest.approx(-(math.log(1.25) ** 2) / 2)
