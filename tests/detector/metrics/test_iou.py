"""Whole boxes at an IoU threshold, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.metrics.iou import IoU, IoUCounts, iou_words


def box(left: Any, top: Any, right: Any, bottom: Any) -> Any:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def score(words: Any, detections: Any, ignore: Any = None, threshold: Any = 0.5) -> Any:
    metric = IoU(threshold)
    metric.add("page", words, ignore or [False] * len(words), detections)
    return metric.result()


def test_recall_precision_and_hmean_from_counts() -> None:
    # two of three words, two of five detections
    words = [box(0, 0, 10, 10), box(20, 0, 30, 10), box(40, 0, 50, 10)]
    far = [box(100 * i, 100, 100 * i + 10, 110) for i in range(3)]
    result = score(words, [words[0], words[2], *far])
    assert (result.matched, result.words, result.detections) == (2, 3, 5)
    assert (result.recall, result.precision) == (2 / 3, 2 / 5)
    assert result.hmean == pytest.approx(2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5))


@pytest.mark.parametrize(("width", "matched"), [(10, 1), (6, 1), (5, 0), (4, 0)])
def test_the_overlap_must_be_above_the_threshold(width: Any, matched: Any) -> None:
    # IoU of a 10-px word with a part of it is width / 10
    assert score([box(0, 0, 10, 10)], [box(0, 0, width, 10)]).matched == matched


def test_threshold_is_a_setting() -> None:
    word, detection = [box(0, 0, 10, 10)], [box(0, 0, 6, 10)]
    assert score(word, detection, threshold=0.55).matched == 1
    assert score(word, detection, threshold=0.6).matched == 0


def test_a_word_is_found_once_and_the_best_overlap_goes_first() -> None:
    # `between` overlaps both words by 8/12; given to the first, the second finds no partner
    words = [box(0, 0, 10, 10), box(0, 4, 10, 14)]
    exact, between = box(0, 0, 10, 10), box(0, 2, 10, 12)
    result = score(words, [between, exact])
    assert (result.matched, result.precision) == (2, 1)
    assert score(words[:1], [between, exact]).matched == 1


def test_detections_mostly_on_an_ignored_word_do_not_count() -> None:
    words = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    half, most = box(15, 0, 25, 10), box(16, 0, 26, 10)  # 5/10 and 6/10 on the ignored word
    result = score(words, [words[0], half, most], [False, True])
    assert (result.words, result.detections, result.ignored_detections) == (1, 2, 1)
    assert (result.recall, result.precision) == (1, 0.5)


def test_rounding_does_not_decide_about_half_a_detection() -> None:
    # the strip is 9 px high and covers half of the 18 px, but for the last bits
    strip = np.array([[11.58, 36.71], [51.58, 39.68], [51.58, 48.68], [11.58, 45.71]])
    detection = box(37, 32, 46, 50)
    for offset in np.linspace(-3, 3, 50):
        result = score([strip + offset], [detection + offset], [True])
        assert result.ignored_detections == 0


def test_shapes_that_only_touch_do_not_match_at_threshold_zero() -> None:
    slanted = np.array([[0, 0], [10, 3], [7, 13], [-3, 10]]) / 7
    beside = slanted + np.array([10, 3]) / 7
    assert score([slanted], [beside], threshold=0).matched == 0


def test_all_ignored_and_empty_pages_are_zero() -> None:
    word = [box(0, 0, 10, 10)]
    assert IoU().result().hmean == 0
    assert score([], []).hmean == 0
    assert score([], word).precision == 0
    ignored = score(word, word, [True])
    assert (ignored.hmean, ignored.ignored_detections, ignored.words) == (0, 1, 0)


@pytest.mark.parametrize(
    "shape",
    [[], [[5, 5]], [[0, 0], [9, 9]], [[5, 5]] * 4, [[0, 0], [1, 0], [float("nan"), 1], [0, 1]]],
)
def test_shapes_without_area_are_no_words_and_never_match(shape: Any) -> None:
    good = box(100, 0, 110, 10)
    result = score([shape, good], [shape, good])
    assert (result.words, result.detections, result.matched) == (1, 2, 1)


def test_a_bow_tie_is_filled_by_the_even_odd_rule() -> None:
    # both triangles together are half of the box: IoU 0.5
    bow = [[0, 0], [10, 10], [10, 0], [0, 10]]
    assert score([box(0, 0, 10, 10)], [bow], threshold=0.49).matched == 1
    assert score([box(0, 0, 10, 10)], [bow], threshold=0.51).matched == 0


def test_wrong_use_is_refused() -> None:
    with pytest.raises(InputError, match=r"threshold: must be from 0 to below 1, got 1\.5"):
        IoU(1.5)
    metric = IoU()
    metric.add("a", [], [], [])
    with pytest.raises(InputError, match="a: scored already"):
        metric.add("a", [], [], [])
    with pytest.raises(InputError, match="b: 0 words but 1 ignore flags"):
        metric.add("b", [], [True], [])
    with pytest.raises(InputError, match=r"IoU 0\.6 into those at 0\.5"):
        metric.merge(IoU(0.6))
    with pytest.raises(InputError, match="a: scored already"):
        metric.add_counts("a", IoUCounts())
    words = iou_words([box(0, 0, 9, 9)], [False])
    with pytest.raises(InputError, match="threshold: must be from 0 to below 1, got 1"):
        words.match([], 1)
    with pytest.raises(InputError, match=r"shape \(selections, 1\).*got bool of shape \(1,\)"):
        words.match([box(0, 0, 9, 9)], 0.5).counts(np.array([True]))
    other = IoU()
    other.add("a", [], [], [])
    with pytest.raises(InputError, match="a: scored in both"):
        metric.merge(other)


boxes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 20), st.integers(1, 20)).map(
        lambda b: box(b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=7,
)


@examples(50)
@given(words=boxes, found=boxes, more=boxes)
def test_merged_collectors_equal_one(words: Any, found: Any, more: Any) -> None:
    first, second, whole = IoU(), IoU(), IoU()
    for metric in (first, whole):
        metric.add("1", words, [False] * len(words), found)
    for metric in (second, whole):
        metric.add("2", more, [True] * len(more), found)
    second.merge(first)
    assert second.result() == whole.result()


@examples(50)
@given(words=boxes)
def test_words_score_one_against_themselves(words: Any) -> None:
    result = score(words, words)
    assert result.matched == len(words)
    assert result.hmean == (1 if words else 0)


@examples(100)
@given(words=boxes, found=boxes, ignored=st.integers(0, 127), chosen=st.integers(0, 2**21 - 1))
def test_selections_count_like_pages_of_their_own(
    words: Any, found: Any, ignored: Any, chosen: Any
) -> None:
    ignore = [bool(ignored >> i & 1) for i in range(len(words))]
    prepared = iou_words(words, ignore)
    active = np.array([[chosen >> (7 * s + i) & 1 for i in range(len(found))] for s in range(3)])
    for threshold in (0.0, 0.3):
        counts = prepared.match(found, threshold).counts(active.astype(bool).reshape(3, -1))
        for row, count in zip(active, counts, strict=True):
            alone = [box for box, there in zip(found, row, strict=True) if there]
            assert prepared.match(alone, threshold).counts() == [count]


def test_counts_of_elsewhere_can_be_added() -> None:
    words, metric = iou_words([box(0, 0, 10, 10)], [False]), IoU()
    match = words.match([box(0, 0, 10, 10), box(0, 0, 9, 10), box(50, 0, 60, 10)], 0.5)
    both, second, none = match.counts(
        np.array([[True, True, True], [False, True, False], [False, False, False]])
    )
    assert (both, second, none) == (IoUCounts(1, 1, 3), IoUCounts(1, 1, 1), IoUCounts(0, 1, 0))
    for name, counts in (("a", both), ("b", second)):
        metric.add_counts(name, counts)
    assert metric.result().precision == 2 / 4
