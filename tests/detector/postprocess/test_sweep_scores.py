from __future__ import annotations

import math
import statistics
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
    return SweepScores(tried, names, scores, counts, np.zeros((count, pages, 4), np.int32))


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


def fitting(hmeans: list[list[float]], matched: list[list[int]]) -> SweepScores:
    """The same with ten words and ten detections a page, so many of them matched."""
    swept = table(hmeans)
    overlap = np.full((*np.shape(matched), 4), 10, np.int32)
    overlap[:, :, 0], overlap[:, :, 3] = matched, 0
    return replace(swept, overlap=overlap)


def test_tighter_boxes_are_chosen_where_the_pages_cannot_tell_by_hand():
    """Against setting 0 setting 1 loses 4/256, 0, 0 and 0 a page: 1/256 in the mean, and the error
    of that is 2/256 / 2. Setting 2 loses 1/256 on each page, which is no chance at all."""
    hmeans = [[230, 230, 230, 230], [226, 230, 230, 230], [229, 229, 229, 229]]
    hmeans = [[h / 256 for h in row] for row in hmeans]
    swept = fitting(hmeans, [[5] * 4, [7] * 4, [9] * 4])
    assert swept.best() == 1
    assert swept.highest == swept.scores(0).hmean > swept.scores(1).hmean
    assert swept.scores(1).iou_hmean == pytest.approx(0.7)
    assert swept.tuned() == {"box_thresh": 0.1}
    assert fitting(hmeans, [[8] * 4, [7] * 4, [9] * 4]).best() == 0


def test_few_or_unlike_pages_do_not_give_up_more_than_a_little():
    """Setting 1 loses 1/2 on one of six pages: 0.083 in the mean, no more than its error."""
    swept = fitting([[0.75] * 6, [0.25, *[0.75] * 5]], [[5] * 6, [9] * 6])
    assert swept.best() == 0
    assert fitting([[0.75, 0.5], [0.5, 0.625]], [[5] * 2, [9] * 2]).best() == 0
    # 1 / 256 on the first page and nothing on the second: within the error and the limit.
    assert fitting([[0.5, 0.5], [0.5 - 1 / 256, 0.5]], [[5] * 2, [9] * 2]).best() == 1


def test_of_settings_that_fit_alike_the_higher_h_mean_is_chosen_then_the_first():
    hmeans = [[0.5, 0.75, 0.75], [0.75, 0.75, 0.75], [0.75, 0.75, 0.75]]
    assert fitting(hmeans, [[5] * 3] * 3).best() == 1


def test_one_page_chooses_the_highest_h_mean_and_then_the_tighter_boxes():
    assert fitting([[0.5], [0.75]], [[9], [1]]).best() == 1
    assert fitting([[0.75], [0.75]], [[1], [9]]).best() == 1
    nan = math.nan
    assert fitting([[0.5, nan], [0.75, nan]], [[9, 0], [1, 0]]).best() == 1


@pytest.mark.parametrize(("found", "chosen"), [(1, 1), (2, 0)])
def test_a_page_where_one_setting_alone_finds_what_is_not_there_counts_against_it(
    found: int, chosen: int
):
    """So many of 256 pages have no word; setting 1 finds some there, setting 0 none.

    The rest is alike. That is 1/256 in the mean and as much in error, or 0.0078 and 0.0055.
    """
    alike = [0.75] * (256 - found)
    hmeans = [[*alike, *[math.nan] * found], [*alike, *[0.0] * found]]
    assert fitting(hmeans, [[5] * 256, [9] * 256]).best() == chosen


def test_each_half_chooses_by_its_own_boxes_by_hand():
    """Both settings are alike to CLEval. On pages 0 and 1 the boxes of setting 0 fit, on 2 and 3
    those of setting 1; each half is scored at the setting of the other."""
    swept = fitting([[0.5, 0.75, 0.5, 0.75]] * 2, [[9, 9, 1, 1], [2, 2, 8, 8]])
    fitted = swept.cross_fit()
    assert fitted is not None
    assert [s.box_thresh for s in fitted.settings] == [0.1, 0.0]
    assert swept.best() == 0  # 20 of 40 are matched at both


@given(st.integers(0, 10**6))
def test_the_choice_is_that_of_the_rule_page_by_page(seed: int):
    rng = np.random.default_rng(seed)
    hmeans = rng.integers(1000, 1015, (6, 5)) / 1024
    hmeans[rng.random((6, 5)) < 0.1] = math.nan
    matched = rng.integers(0, 11, (6, 5))
    swept = fitting(hmeans.tolist(), matched.tolist())
    means = [
        statistics.fmean(x for x in row if x == x) if (row == row).any() else 0.0 for row in hmeans
    ]
    best = means.index(max(means))
    alike = []
    for index, row in enumerate(hmeans):
        pairs = [(a, b) for a, b in zip(hmeans[best], row, strict=True) if a == a or b == b]
        lost = [(a if a == a else 1) - (b if b == b else 1) for a, b in pairs]
        near = len(lost) > 1 and (
            statistics.fmean(lost)
            <= min(statistics.stdev(lost) / math.sqrt(len(lost)) + 1e-15, 0.005)
        )
        alike += [index] if near or means[index] == means[best] else []
    chosen = swept.best()
    assert chosen in alike
    assert matched[chosen].sum() == max(matched[i].sum() for i in alike)


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
    assert np.array_equal(whole.overlap, np.stack([drawn(p).overlap for p in range(6)], axis=1))


def test_a_page_is_scored_once():
    assert SweepScores.of(TRIED, []) is None
    with pytest.raises(InputError, match=r"^001\.jpg: is there twice"):
        SweepScores.of(TRIED, [drawn(1), drawn(0), drawn(1)])
