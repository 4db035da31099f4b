from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.geometry import text_box


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def test_the_extent_by_hand():
    words = [box(20, 30, 60, 40), box(50, 35, 119, 50)]
    # Pixels 20 to 119 and 30 to 50; a tenth of the longer side, 99, is 9.9.
    assert text_box(words, (200, 100), 0.0) == (20, 30, 120, 51)
    assert text_box(words, (200, 100), 0.1) == (10, 20, 130, 61)


def test_it_stays_on_the_page():
    assert text_box([box(-10, 5, 300, 95)], (200, 100), 0.5) == (0, 0, 200, 100)


@pytest.mark.parametrize("words", [[], [np.zeros((0, 2), np.float32)], [box(300, 5, 320, 20)]])
def test_a_page_without_text_has_no_box(words):
    assert text_box(words, (200, 100), 0.0) is None


def test_a_word_of_one_point_is_one_pixel():
    assert text_box([np.array([[7.0, 3.0]], np.float32)], (200, 100), 0.2) == (7, 3, 8, 4)
    assert text_box([np.array([[0.5, 49.5]], np.float32)], (2, 50), 0.0) is None  # off the page
    assert text_box([np.array([[0.5, 48.5]], np.float32)], (2, 50), 0.0) == (1, 49, 2, 50)


@given(
    st.lists(st.tuples(st.floats(0, 99), st.floats(0, 49)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_every_point_is_in_the_box(points, margin):
    found = text_box([np.array(points, np.float32)], (100, 50), margin)
    assert found is not None
    x0, y0, x1, y1 = found
    assert 0 <= x0 < x1 <= 100
    assert 0 <= y0 < y1 <= 50
    for x, y in np.array(points, np.float32).tolist():
        assert x0 - 0.5 <= x <= x1 - 0.5
        assert y0 - 0.5 <= y <= y1 - 0.5
