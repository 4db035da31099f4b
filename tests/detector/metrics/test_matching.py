"""Selections of detections count exactly like pages that hold only those detections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.metrics import matching
from detector.metrics.cleval import PageCounts, count_page, read_words

DIALECTS = ("competition", "official")


def box(left: Any, top: Any, right: Any, bottom: Any) -> Any:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


corners = st.tuples(st.integers(0, 90), st.integers(0, 60))
boxes = st.tuples(corners, st.integers(1, 60), st.integers(1, 25)).map(
    lambda b: box(*b[0], b[0][0] + b[1], b[0][1] + b[2])
)
slanted = st.tuples(corners, st.integers(8, 60), st.integers(-9, 9), st.integers(5, 20)).map(
    lambda b: np.add([[0, 0], [b[1], b[2]], [b[1], b[2] + b[3]], [0, b[3]]], b[0]).tolist()
)
shapes = st.one_of(
    boxes,
    slanted,
    st.lists(corners, min_size=3, max_size=7),  # triangles, bow-ties, anything
    st.integers(5, 40).map(
        lambda k: [
            [45 + 30 * np.cos(6.28 * i / k), 30 + 9 * np.sin(6.28 * i / k)] for i in range(k)
        ]
    ),
    st.sampled_from([[], [[1, 1]], [[0, 0], [9, 0], [float("nan"), 5]], [[3, 3]] * 4]),
)


@st.composite
def pages(draw: Any) -> Any:
    words = draw(st.lists(shapes, max_size=7))
    count = len(words)
    texts = draw(
        st.lists(st.one_of(st.none(), st.text("ab", max_size=6)), min_size=count, max_size=count)
    )
    ignore = [draw(st.integers(0, 3)) == 0 for _ in words]
    repeated = draw(st.lists(st.sampled_from(words), max_size=4)) if words else []
    return (
        words,
        texts,
        ignore,
        draw(st.permutations(repeated + draw(st.lists(shapes, max_size=6)))),
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(150)
@given(page=pages(), data=st.data())
def test_a_selection_counts_like_a_page_of_its_own(dialect: Any, page: Any, data: Any) -> None:
    words, texts, ignore, detections = page
    prepared = read_words(dialect, words, texts, ignore)
    match = prepared.match(detections)
    row = st.lists(st.booleans(), min_size=len(detections), max_size=len(detections))
    active = np.array(data.draw(st.lists(row, min_size=1, max_size=3)), dtype=bool)
    for chosen, counts in zip(active, match.counts(active), strict=True):
        kept = np.flatnonzero(chosen)
        alone = prepared.match([detections[i] for i in kept])
        assert alone.counts() == [counts]
        assert np.array_equal(alone.matched(), match.matched(chosen)[:, kept])
        assert np.array_equal(alone.found(), match.found(chosen))
        assert match.found(chosen).sum() == counts.found
        assert not match.matched(chosen)[:, ~chosen].any()
    assert match.counts() == [count_page(dialect, words, texts, ignore, detections)]


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(150)
@given(page=pages(), data=st.data())
def test_whatever_matches_nothing_costs_what_it_costs_alone(
    dialect: Any, page: Any, data: Any
) -> None:
    """Costs are worked out only for detections that may match nothing: none is left out."""
    words, texts, ignore, detections = page
    match = read_words(dialect, words, texts, ignore).match(detections)
    row = st.lists(st.booleans(), min_size=len(detections), max_size=len(detections))
    active = np.array(data.draw(row), dtype=bool)
    lonely = active & ~match.forgiven & ~match.matched(active).any(axis=0)
    costs = [count_page(dialect, [], [], [], [detections[i]]).false for i in np.flatnonzero(lonely)]
    assert match.counts(active[None])[0].false == sum(costs)


def test_what_a_match_tells() -> None:
    # the second word is ignored; the bad shape in between is left out
    words = [box(0, 0, 100, 20), [[1, 1]], box(0, 40, 100, 60), box(0, 80, 50, 100)]
    texts = ["abcdefghij", "k", "###", "lmnop"]
    prepared = read_words("official", words, texts, [False, False, True, False])
    assert prepared.kept.tolist() == [0, 2, 3]
    assert prepared.ignored.tolist() == [False, True, False]
    assert prepared.characters.tolist() == [10, 5, 5]  # ignored: round(0.5 + 4.999998)
    assert prepared.excluded == 1
    assert prepared.owner.tolist() == [0] * 10 + [1] * 5 + [2] * 5
    assert prepared.centres[:3].tolist() == [[5, 10], [15, 10], [25, 10]]
    assert np.array_equal(prepared.shapes[2], words[3])

    tall = box(200, 0, 220, 110)
    match = prepared.match([box(0, 0, 60, 20), box(60, 0, 100, 20), words[2], tall])
    assert match.forgiven.tolist() == [False, False, True, False]
    assert match.false_characters.tolist() == [0, 0, 0, 6]  # the others match or are forgiven
    assert match.matched().tolist() == [
        [True, True, False, False],
        [False, False, False, False],
        [False, False, False, False],
    ]
    assert match.found().tolist() == [True] * 10 + [False] * 10
    half = np.array([True, False, True, False])
    assert match.found(half).tolist() == [True] * 6 + [False] * 14
    both, one = match.counts(np.stack([~half, half]))
    common = {"truth": 15, "words": 2, "ignored_words": 1, "excluded_words": 1}
    assert both == PageCounts(**common, found=4, detected=10, false=6, detections=2)
    assert one == PageCounts(**common, found=6, detected=6, detections=1, ignored_detections=1)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_words_no_detections_and_no_selections(dialect: Any) -> None:
    empty = read_words(dialect, [], [], [])
    assert empty.match([]).counts() == [PageCounts()]
    assert empty.match([]).counts(np.zeros((2, 0), dtype=bool)) == [PageCounts()] * 2
    match = empty.match([box(0, 0, 20, 20)])
    assert match.counts(np.zeros((0, 1), dtype=bool)) == []
    assert match.matched().shape == (0, 1)
    # competition: round(0.5 + 1) = 2 characters; official: round(0.5 + 1 / 1.00001) = 1
    false = 2 if dialect == "competition" else 1
    assert match.counts() == [PageCounts(detected=false, false=false, detections=1)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_billion_pixels_score_like_a_thousand(dialect: Any) -> None:
    shapes = np.array([box(0, 0, 1000, 200), box(0, 0, 500, 200), box(600, 0, 900, 200)])
    small, large = (
        count_page(dialect, list(k * shapes[:1]), ["abcdefghij"], [False], list(k * shapes[1:]))
        for k in (1, 10**6)
    )
    assert small == large
    # of ten at 50, 150, ... five and three are inside; of six at 83, 250, ... three and one
    assert small.found == (8 if dialect == "official" else 4)


def test_many_selections_are_counted_in_parts(monkeypatch: Any) -> None:
    words = [box(0, 30 * i, 100, 30 * i + 20) for i in range(6)]
    match = read_words("competition", words, [None] * 6, [False] * 6).match(words * 2)
    active = np.random.default_rng(0).random((40, 12)) < 0.5
    whole = match.counts(active)
    monkeypatch.setattr(matching, "_CHUNK", 50)
    assert match.counts(active) == whole
    assert len(set(whole)) > 10


@pytest.mark.parametrize(
    "active", [np.ones((1, 3), dtype=bool), np.ones(2, dtype=bool), np.ones((1, 2)), [[1, 0]]]
)
def test_wrong_selections_are_refused(active: Any) -> None:
    match = read_words("official", [], [], []).match([box(0, 0, 9, 9)] * 2)
    with pytest.raises(InputError, match=r"active: must be bool of shape \(selections, 2\)"):
        match.counts(active)
    with pytest.raises(InputError, match="active: must be bool"):
        match.found(np.ones(3, dtype=bool))
