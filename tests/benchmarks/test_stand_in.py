"""The nearest recorded training that is left, by another formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import row_finder

DRAWN = [
    {"net": "a", "lr": 0.001, "weight": 1.0},
    {"net": "a", "lr": 0.004, "weight": 1.0},
    {"net": "a", "lr": 0.002, "weight": 4.0},
    {"net": "b", "lr": 0.002, "weight": 1.0},
]


@given(st.sampled_from("ab"), st.floats(0.001, 0.004), st.floats(1, 4), st.sets(st.integers(0, 3)))
def test_no_free_training_is_nearer(net, lr, weight, taken):
    row = row_finder(DRAWN, {"lr", "weight"})(
        {"net": net, "lr": lr, "weight": weight}, lambda row: row not in taken
    )

    def distance(config):
        return np.hypot(*np.log2([config["lr"] / lr, config["weight"] / weight]))

    left = set(range(4)) - taken or set(range(4))
    alike = {i for i in left if DRAWN[i]["net"] == net} or left  # choices come first
    assert distance(DRAWN[row]) == pytest.approx(min(distance(DRAWN[i]) for i in alike))
    assert row in alike


def test_where_no_row_has_all_choices_it_is_one_with_the_most():
    rows = [{"net": "a", "px": 1, "lr": 1.0}, {"net": "b", "px": 2, "lr": 8.0}]
    row_of = row_finder([*rows, {"net": "c", "px": 1, "lr": 1.0}], {"lr"})
    point = {"net": "b", "px": 3, "lr": 1.0}
    assert row_of(point, bool) == 1  # row 0 is taken
    assert row_of(point, {1: False}.get) == 1
    # Two rows share one of two choices: the nearer one, then the other; then there is a last one.
    taken = set()
    point = {"net": "a", "px": 2, "lr": 6.0}
    found = [row_of(point, lambda row: row not in taken and not taken.add(row)) for _ in range(4)]
    assert found == [1, 0, 2, 1]
