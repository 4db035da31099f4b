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
def test_no_free_training_of_the_same_choices_is_nearer(net, lr, weight, taken):
    row = row_finder(DRAWN, {"lr", "weight"})(
        {"net": net, "lr": lr, "weight": weight}, lambda row: row not in taken
    )

    def distance(config):
        return np.hypot(*np.log2([config["lr"] / lr, config["weight"] / weight]))

    alike = [i for i, config in enumerate(DRAWN) if config["net"] == net]
    left = [i for i in alike if i not in taken] or alike
    assert distance(DRAWN[row]) == pytest.approx(min(distance(DRAWN[i]) for i in left))
    assert row in left
