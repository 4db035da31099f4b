"""Points of a space: what is drawn, what is changed, and how far points lie apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.propose.points import as_numbers, changed, drawn, identity
from orchestrator.space.parameters import Parameter

FUSION = Parameter("model.fusion", "choice", ("none", "scale_spatial", "scale_channel_spatial"))
RATIO = Parameter(
    "loss.negative_ratio", "uniform", (1.0, 5.0), when={"model.fusion": ("scale_spatial",)}
)
LR = Parameter("optimizer.lr", "log_uniform", (1e-4, 1e-2))
SIDE = Parameter("data.longest_side_px", "choice", (640, 1024, 896))
BATCH = Parameter("train.batch_size", "int", (4, 16), step=4)
FLAG = Parameter("train.ema", "choice", (True, False, None))
ONE = Parameter("optimizer.schedule", "choice", ("cosine",))
ALL = (FUSION, RATIO, LR, SIDE, BATCH, FLAG, ONE)


def far(parameter, *values, points=None):
    """The distance between two points that differ in one setting."""
    points = points or [{parameter.key: value} for value in values]
    (numbers,) = as_numbers([parameter], points)
    return math.dist(*numbers)


def test_ends_of_a_range_are_one_apart():
    assert far(RATIO, 1.0, 5.0) == 1
    assert far(RATIO, 1.0, 2.0) == 0.25
    assert far(LR, 1e-4, 1e-3) == pytest.approx(0.5)
    assert far(BATCH, 4, 8) == pytest.approx(1 / 3)


def test_choices_are_one_apart_and_numbers_lie_in_their_order():
    assert far(FUSION, "none", "scale_channel_spatial") == pytest.approx(1)
    assert far(FUSION, "none", "scale_spatial") == pytest.approx(1)
    assert far(FLAG, True, None) == pytest.approx(1)
    assert [far(SIDE, 640, 896), far(SIDE, 896, 1024), far(SIDE, 640, 1024)] == [0.5, 0.5, 1]
    assert far(SIDE, 640, 768) == 0.25  # of an earlier session with other choices


def test_where_a_setting_does_not_apply_lies_between_where_it_does():
    assert far(RATIO, points=[{}, {}]) == 0
    assert far(RATIO, points=[{}, {RATIO.key: 1.0}]) == pytest.approx(math.sqrt(0.5))
    assert far(RATIO, points=[{}, {RATIO.key: 3.0}]) == 0.5
    assert far(FUSION, points=[{}, {FUSION.key: "none"}]) == pytest.approx(math.sqrt(0.5))


def test_a_setting_of_one_value_tells_points_apart_nowhere():
    assert as_numbers([ONE], [{ONE.key: "cosine"}]) == []
    assert [len(each) for each in as_numbers(ALL, [{}, {}])] == [2] * 6


@given(st.integers(0, 2**32 - 1))
def test_what_is_drawn_or_changed_is_a_point_of_the_space(seed):
    rng = np.random.default_rng(seed)
    point = drawn(ALL, rng, {})
    for _ in range(5):
        before, point = point, changed(ALL, rng, point, {})
        assert (RATIO.key in point) == (point[FUSION.key] == "scale_spatial")
        assert all(p.contains(point[p.key]) for p in ALL if p.key in point)
        assert list(point) == [p.key for p in ALL if p.key in point]
        # One or two were changed; with the fusion its ratio may have come or gone.
        assert sum(before.get(key) != value for key, value in point.items()) <= 3


@given(st.integers(0, 2**32 - 1))
def test_what_is_given_stays(seed):
    rng, asked = np.random.default_rng(seed), {FUSION.key: "scale_spatial", LR.key: 5e-3}
    point = drawn(ALL, rng, asked)
    assert point.items() >= asked.items()
    assert RATIO.key in point
    assert changed(ALL, rng, point, asked).items() >= asked.items()


def test_a_value_that_the_space_has_no_more_is_drawn_anew():
    rng, old = np.random.default_rng(0), {FUSION.key: "asf", LR.key: 1.0, SIDE.key: 640}
    point = changed(ALL, rng, old, {SIDE.key: 640})
    assert point[FUSION.key] in FUSION.values
    assert LR.contains(point[LR.key])
    assert point[SIDE.key] == 640


def test_draws_reach_every_value_and_both_ends():
    rng = np.random.default_rng(0)
    points = [drawn(ALL, rng, {}) for _ in range(2000)]
    for parameter in (FUSION, SIDE, FLAG):
        counts = [sum(p[parameter.key] == v for p in points) for v in parameter.values]
        assert min(counts) > 550  # of 667
    batches = [sum(p[BATCH.key] == size for p in points) for size in (4, 8, 12, 16)]
    assert min(batches) > 430  # of 500
    rates = [p[LR.key] for p in points]
    assert sum(rate < 1e-3 for rate in rates) / 2000 == pytest.approx(0.5, abs=0.05)
    assert (min(rates), max(rates)) == pytest.approx((1e-4, 1e-2), rel=0.02)


def test_changed_ranges_stay_near():
    rng, points = np.random.default_rng(0), [{LR.key: 1e-3, BATCH.key: 8}]
    for _ in range(500):
        points.append(changed([LR, BATCH], rng, points[0], {}))
    shares = [math.log10(point[LR.key] / 1e-3) / 2 for point in points]
    assert 0.05 < np.std(shares) < 0.1  # a tenth of the range, where it is changed
    assert {point[BATCH.key] for point in points} == {4, 8, 12}


def test_a_point_is_known_whatever_the_order_of_its_settings():
    assert identity({"b": 1, "a": None}) == identity({"a": None, "b": 1})
    assert identity({"a": 1}) != identity({"a": 2})
