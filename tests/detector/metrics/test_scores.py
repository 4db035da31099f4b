from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError, JobError
from detector.data.labels.pages import Page, Word
from detector.metrics.scores import Scores, Scoring


def box(x: float, y: float, width: float = 40, height: float = 10) -> np.ndarray:
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    return np.array(corners, np.float32)


def page(name: str, *words: np.ndarray) -> Page:
    read = tuple(Word(str(i), points, "word", False) for i, points in enumerate(words))
    return Page(name, Path("unused"), 200, 100, read)


PAGES = [
    (page("a", box(0, 0), box(50, 0)), [box(0, 0), box(50, 0)]),  # both found
    (page("b", box(0, 0), box(50, 0)), [box(0, 0)]),  # one missed
    (page("c", box(0, 0)), [box(0, 0), box(0, 50)]),  # one too many
    (page("d"), []),  # blank, and found to be
]


def scored(numbers: list[int]) -> Scoring:
    scoring = Scoring()
    for i in numbers:
        scoring.add(*PAGES[i])
    return scoring


def test_the_scores_of_four_pages_worked_out_by_hand():
    scores = scored([0, 1, 2, 3]).result()
    # "a" has recall and precision 1; "b" recall 1/2; "c" precision 1/2: H = 2/3 for both.
    assert scores.page_hmeans == pytest.approx({"a": 1, "b": 2 / 3, "c": 2 / 3})
    assert scores.hmean == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert (scores.pages, scores.blank_pages) == (4, 1)
    # IoU pools the boxes: 4 of 5 words found, 4 of 5 detections right.
    assert (scores.iou_recall, scores.iou_precision) == (0.8, 0.8)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_scores_do_not_depend_on_who_scored_which_page(owners: list[int]):
    parts = [scored([i for i in range(4) if owners[i] == rank]) for rank in range(3)]
    parts[1].skip("e.jpg: broken")
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(part)
    whole = scored([0, 1, 2, 3])
    whole.skip("e.jpg: broken")
    assert merged.result() == whole.result()


def test_boxes_can_be_matched_more_tightly_as_well():
    # Six of ten rows of the first word are found, nine of the second.
    shallow, deep = box(0, 0, height=6), box(50, 0, height=9)
    scoring = Scoring([0.5, 0.7])
    scoring.add(page("a", box(0, 0), box(50, 0)), [shallow, deep])
    other = Scoring([0.5, 0.7])
    other.add(page("b", box(0, 0)), [box(0, 0), box(0, 50)])
    scoring.merge(other)
    loose, tight = scoring.at_iou().values()
    assert list(scoring.at_iou()) == [0.5, 0.7]
    assert (loose.matched, loose.words, loose.detections) == (3, 3, 4)
    assert loose.hmean == scoring.result().iou_hmean == 6 / 7
    assert (tight.matched, tight.hmean) == (2, 4 / 7)


def test_a_page_that_both_scored_is_refused():
    with pytest.raises(InputError, match="b: scored in both"):
        scored([0, 1]).merge(scored([1]))


def test_without_a_page_there_is_no_score():
    scoring = Scoring()
    scoring.skip("x.jpg: not an image")
    with pytest.raises(JobError, match=r"no page of the split could be read:\nx.jpg: not an"):
        scoring.result()


def test_a_split_of_blank_pages_found_blank_has_scores_of_zero():
    scores = scored([3]).result()
    assert isinstance(scores, Scores)
    assert (scores.hmean, scores.blank_pages, scores.page_hmeans) == (0.0, 1, {})
