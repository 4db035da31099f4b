from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.postprocess.sweep_scores import PageSweep, SweepScores, second_half


def table(hmeans: list[list[float]]) -> SweepScores:
    """A sweep with given H-means, `[setting][page]`, and no other figures."""
    values = np.array(hmeans)
    count, pages = values.shape
    tried = tuple(PostprocessConfig(box_thresh=i / 10) for i in range(count))
    scores = np.repeat(values[:, :, None], 3, axis=2)
    names = tuple(f"{i}.jpg" for i in range(pages))
    counts = np.zeros((count, 11), np.int64)
    return SweepScores(tried, names, scores, counts, np.zeros((count, 4), np.int64))


@pytest.mark.parametrize(
    "halves",
    [
        *("", "1", "12", "112", "1122", "11111112222222", "111222222111111222"),
        "1111222222221111111122222222111111112222",  # of 40 pages: changes at 4, 12, 20, 28, 36
    ],
)
def test_pages_are_dealt_in_blocks_by_hand(halves: str):
    assert "".join("12"[int(half)] for half in second_half(len(halves))) == halves


@given(st.integers(2, 3000))
def test_halves_differ_by_a_page_at_most(pages: int):
    second = second_half(pages)
    assert abs(2 * second.sum() - pages) <= 1
    assert not second[0]
    assert np.count_nonzero(second[1:] != second[:-1]) <= 5


@given(st.integers(1, 300))
def test_near_duplicates_do_not_choose_for_each_other(receipts: int):
    """Each receipt photographed twice: dealt odd and even, every twin would be opposite."""
    second = second_half(2 * receipts).reshape(receipts, 2)
    assert np.count_nonzero(second[:, 0] != second[:, 1]) <= 5


def test_cross_fitting_by_hand():
    """Pages 0 and 1 prefer setting 1, pages 2 and 3 setting 0; the mean prefers setting 2."""
    swept = table([[0.1, 0.3, 0.9, 0.9], [0.9, 0.9, 0.3, 0.1], [0.8, 0.8, 0.8, 0.8]])
    assert swept.best() == 2
    fitted = swept.cross_fit()
    assert fitted is not None
    # Each half is scored at the other's choice: 0.1 + 0.3 at setting 0, 0.3 + 0.1 at setting 1.
    assert fitted.hmean == pytest.approx(0.2)
    assert fitted.optimism == pytest.approx(0.6)
    assert {s.box_thresh for s in fitted.settings} == {0.0, 0.1}
    assert fitted.page_hmeans == {"0.jpg": 0.1, "1.jpg": 0.3, "2.jpg": 0.3, "3.jpg": 0.1}
    assert swept.tuned() == {"box_thresh": 0.2}


def test_cross_fitting_takes_recall_and_precision_from_the_same_settings():
    """Pages 2 and 3 choose setting 1 for pages 0 and 1, which choose setting 0 for the others."""
    swept = table([[0.9, 0.9, 0.2, 0.4], [0.5, 0.7, 0.6, 0.8]])
    scores = swept.page_scores.copy()
    scores[:, :, 0] = [[0.1, 0.3, 0.2, 0.4], [0.5, 0.7, 0.6, 0.8]]  # recall
    scores[:, :, 1] = [[0.8, 0.6, 0.7, 0.5], [0.4, 0.2, 0.3, 0.1]]  # precision
    fitted = replace(swept, page_scores=scores).cross_fit()
    assert fitted is not None
    assert [s.box_thresh for s in fitted.settings] == [0.1, 0.0]
    assert fitted.page_hmeans == {"0.jpg": 0.5, "1.jpg": 0.7, "2.jpg": 0.2, "3.jpg": 0.4}
    assert fitted.hmean == pytest.approx((0.5 + 0.2 + 0.7 + 0.4) / 4)
    assert fitted.recall == pytest.approx((0.5 + 0.2 + 0.7 + 0.4) / 4)
    assert fitted.precision == pytest.approx((0.4 + 0.7 + 0.2 + 0.5) / 4)


def test_cross_fitting_leaves_blank_pages_out_and_needs_two_pages():
    nan = math.nan
    fitted = table([[0.5, nan, 0.7, 0.6]]).cross_fit()
    assert fitted is not None
    assert fitted.hmean == pytest.approx(0.6)
    assert fitted.page_hmeans == {"0.jpg": 0.5, "2.jpg": 0.7, "3.jpg": 0.6}
    assert fitted.optimism == pytest.approx(0)
    assert table([[0.5]]).cross_fit() is None
    assert table([[nan, nan]]).cross_fit() is None


TRIED = (PostprocessConfig(), PostprocessConfig(box_thresh=0.1))


def drawn(page: int) -> PageSweep:
    """A page at two settings, with figures of its own."""
    rng = np.random.default_rng(page)
    counts = rng.integers(0, 99, (2, 15))
    return PageSweep(f"{page:03d}.jpg", rng.random((2, 3)), counts[:, :11], counts[:, 11:])


@given(st.permutations(range(6)))
def test_the_scores_of_all_pages_are_those_of_each_whatever_their_order(pages: list[int]):
    whole = SweepScores.of(TRIED, [drawn(page) for page in pages])
    assert whole is not None
    assert (whole.names, whole.settings) == (tuple(f"{p:03d}.jpg" for p in range(6)), TRIED)
    for page in range(6):
        assert np.array_equal(whole.page_scores[:, page], drawn(page).page_scores)
    assert np.array_equal(whole.official, sum(drawn(page).official for page in range(6)))
    assert np.array_equal(whole.overlap, sum(drawn(page).overlap for page in range(6)))


def test_a_page_is_scored_once():
    assert SweepScores.of(TRIED, []) is None
    with pytest.raises(InputError, match=r"^001\.jpg: is there twice"):
        SweepScores.of(TRIED, [drawn(1), drawn(0), drawn(1)])
