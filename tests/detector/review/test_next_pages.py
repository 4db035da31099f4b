from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from detector.postprocess.maps import PageMap
from detector.review.next_pages import (
    POWER,
    Candidate,
    candidate_of,
    choose,
    layout_of,
    medians_of,
)

SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 30))


def page(name: str = "a", **regions: tuple[slice, slice, float]) -> PageMap:
    probability = np.zeros((40, 60), np.float32)
    for rows, columns, value in regions.values():
        probability[rows, columns] = value
    return PageMap(name, probability, np.eye(2, 3), (60, 40))


def test_doubt_by_hand():
    """One region is sure, one is in the middle, one is a speck, and one is too faint to begin."""
    found = candidate_of(
        page(
            sure=(slice(2, 8), slice(2, 30), 1.0),
            middle=(slice(12, 18), slice(2, 30), 0.5),
            speck=(slice(22, 24), slice(2, 4), 0.9),
            faint=(slice(30, 36), slice(2, 30), 0.19),
        )
    )
    assert found.regions == 2
    assert found.doubt == pytest.approx((0 + 1) / 2)


def test_a_regions_median_and_not_its_soft_border_counts():
    probability = np.zeros((20, 40), np.float32)
    probability[4:14, 4:36] = 0.3  # its border
    probability[5:13, 5:35] = 1.0
    assert medians_of(probability).tolist() == [1.0]


@pytest.mark.parametrize("shape", [(1, 1), (40, 60)])
def test_a_page_without_text_has_no_doubt(shape: tuple[int, int]):
    empty = PageMap("a", np.zeros(shape, np.float32), np.eye(2, 3), shape[::-1])
    found = candidate_of(empty)
    assert (found.doubt, found.regions) == (0.0, 0)
    assert not found.layout.any()
    assert [choice.name for choice in choose([found, found], 3)] == ["a", "a"]
    assert choose([], 3) == []


def one(name: str, doubt: float, *layout: float) -> Candidate:
    vector = np.array(layout or (1.0, 0.0))
    return Candidate(name, doubt, 5, vector / np.linalg.norm(vector))


def test_of_pages_that_are_alike_one_is_enough():
    pages = [one("a", 0.9, 1, 0), one("again", 0.8, 1, 0), one("other", 0.1, 0, 1)]
    chosen = choose(pages, 3)
    assert [choice.name for choice in chosen] == ["a", "other", "again"]
    assert [choice.likeness for choice in chosen] == pytest.approx([0, 0, 1])


def test_what_likeness_costs_by_hand():
    """At a cosine of 0.8 a page keeps 1 - 0.8^8 = 0.83 of its worth."""
    for doubt, first in ((0.5 / (1 - 0.8**POWER) + 1e-6, "like"), (0.5, "other")):
        pages = [one("a", 0.9, 1, 0), one("like", doubt, 0.8, 0.6), one("other", 0.5, 0, 1)]
        assert choose(pages, 2)[1].name == first


def test_of_equal_pages_the_first_is_taken():
    assert [choice.name for choice in choose([one("a", 0.5), one("b", 0.5)], 1)] == ["a"]


@examples(50)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 1)), max_size=8),
    st.integers(1, 10),
)
def test_every_page_once_and_the_most_doubtful_first(pages: list[Any], count: int):
    candidates = [one(str(i), doubt, x, y) for i, (doubt, x, y) in enumerate(pages)]
    chosen = choose(candidates, count)
    assert len(chosen) == min(count, len(candidates))
    assert len({choice.name for choice in chosen}) == len(chosen)
    if chosen:
        assert chosen[0].doubt == max(candidate.doubt for candidate in candidates)
    assert all(0 <= choice.likeness <= 1 for choice in chosen)


@examples(50)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_any_map_has_a_doubt_and_a_layout(probability: NDArray[np.float32]):
    found = candidate_of(PageMap("a", probability, np.eye(2, 3), probability.shape[::-1]))
    assert 0 <= found.doubt <= 1
    length = float(np.linalg.norm(layout_of(probability)))
    assert length == pytest.approx(1) or length == 0
