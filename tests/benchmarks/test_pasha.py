"""The rule by hand: orders that settle, orders that do not, and what noise is taken to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pasha import is_stable, noise_of


def curves(*rows):
    return [dict(enumerate(row, 1)) for row in rows]


def test_the_same_order_is_stable_and_a_swap_is_not():
    assert is_stable(curves((0.5, 0.9), (0.4, 0.8), (0.3, 0.1)), 1, 2, noise=0.0)
    assert not is_stable(curves((0.5, 0.8), (0.4, 0.9)), 1, 2, noise=0.0)


def test_a_swap_within_the_noise_is_none():
    swapped = curves((0.50, 0.8), (0.48, 0.9), (0.1, 0.2))
    assert is_stable(swapped, 1, 2, noise=0.021)
    assert not is_stable(swapped, 1, 2, noise=0.019)


def test_fewer_than_two_have_no_order():
    assert is_stable([], 1, 3, noise=0.0)
    assert is_stable(curves((0.1, 0.2)), 1, 2, noise=0.0)


def test_noise_is_told_by_those_that_passed_each_other_and_back():
    # The first two cross twice and end 0.03 apart; either crosses the third at most once.
    crossing = curves((0.5, 0.4, 0.73), (0.4, 0.5, 0.70), (0.1, 0.2, 0.9))
    assert noise_of(crossing) == pytest.approx(0.03)
    assert noise_of(crossing[1:]) == 0.0
    assert noise_of([]) == 0.0


def test_noise_is_a_high_percentile_over_the_pairs():
    # Pairs that cross twice end 0.1 (first, second), 0.2 (first, third) apart; second and third
    # never cross. The 90th percentile of two values lies nine tenths of the way between.
    three = curves((0.5, 0.3, 0.8), (0.4, 0.4, 0.7), (0.35, 0.35, 0.6))
    assert noise_of(three) == pytest.approx(0.19)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8))
def test_with_enough_noise_everything_is_stable(rows):
    assert is_stable(curves(*rows), 1, 2, noise=1.0)
