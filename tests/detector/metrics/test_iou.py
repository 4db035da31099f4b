"""Whole boxes at an IoU threshold, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import InputError
from detector.metrics.iou import IoU


def box(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def score(words, detections, ignore=None, threshold=0.5):
    metric = IoU(threshold)
    metric.add("page", words, ignore or [False] * len(words), detections)
    return metric.result()


def test_recall_precision_and_hmean_from_counts():
    # two of three words, two of five detections
    words = [box(0, 0, 10, 10), box(20, 0, 30, 10), box(40, 0, 50, 10)]
    far = [box(100 * i, 100, 100 * i + 10, 110) for i in range(3)]
    result = score(words, [words[0], words[2], *far])
    assert (result.matched, result.words, result.detections) == (2, 3, 5)
    assert (result.recall, result.precision) == (2 / 3, 2 / 5)
    assert result.hmean == pytest.approx(2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5))


@pytest.mark.parametrize(("width", "matched"), [(10, 1), (6, 1), (5, 0), (4, 0)])
def test_the_overlap_must_be_above_the_threshold(width, matched):
    # IoU of a 10-px word with a part of it is width / 10
    assert score([box(0, 0, 10, 10)], [box(0, 0, width, 10)]).matched == matched


def test_threshold_is_a_setting():
    word, detection = [box(0, 0, 10, 10)], [box(0, 0, 6, 10)]
    assert score(word, detection, threshold=0.55).matched == 1
    assert score(word, detection, threshold=0.6).matched == 0


def test_a_word_is_found_once_and_the_best_overlap_goes_first():
    # `between` overlaps both words by 8/12; given to the first, the second finds no partner
    words = [box(0, 0, 10, 10), box(0, 4, 10, 14)]
    exact, between = box(0, 0, 10, 10), box(0, 2, 10, 12)
    result = score(words, [between, exact])
    assert (result.matched, result.precision) == (2, 1)
    assert score(words[:1], [between, exact]).matched == 1


def test_detections_mostly_on_an_ignored_word_do_not_count():
    words = [box(0, 0, 10, 10), box(20, 0, 30, 10)]
    half, most = box(15, 0, 25, 10), box(16, 0, 26, 10)  # 5/10 and 6/10 on the ignored word
    result = score(words, [words[0], half, most], [False, True])
    assert (result.words, result.detections, result.ignored_detections) == (1, 2, 1)
    assert (result.recall, result.precision) == (1, 0.5)


def test_all_ignored_and_empty_pages_are_zero():
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
def test_shapes_without_area_are_no_words_and_never_match(shape):
    good = box(100, 0, 110, 10)
    result = score([shape, good], [shape, good])
    assert (result.words, result.detections, result.matched) == (1, 2, 1)


def test_a_bow_tie_is_filled_by_the_even_odd_rule():
    # both triangles together are half of the box: IoU 0.5
    bow = [[0, 0], [10, 10], [10, 0], [0, 10]]
    assert score([box(0, 0, 10, 10)], [bow], threshold=0.49).matched == 1
    assert score([box(0, 0, 10, 10)], [bow], threshold=0.51).matched == 0


def test_wrong_use_is_refused():
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


@settings(max_examples=50, deadline=None)
@given(words=boxes, found=boxes, more=boxes)
def test_merged_collectors_equal_one(words, found, more):
    first, second, whole = IoU(), IoU(), IoU()
    for metric in (first, whole):
        metric.add("1", words, [False] * len(words), found)
    for metric in (second, whole):
        metric.add("2", more, [True] * len(more), found)
    second.merge(first)
    assert second.result() == whole.result()


@settings(max_examples=50, deadline=None)
@given(words=boxes)
def test_words_score_one_against_themselves(words):
    result = score(words, words)
    assert result.matched == len(words)
    assert result.hmean == (1 if words else 0)
