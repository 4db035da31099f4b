"""CLEval on pages counted by hand (`cleval_pages.yaml`), its invariances and edge cases."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.metrics.cleval import CLEval, Dialect, PageCounts, count_page, read_words

DIALECTS: tuple[Dialect, ...] = ("competition", "official")
PAGES = yaml.safe_load(Path(__file__).with_name("cleval_pages.yaml").read_text())


def box(left: Any, top: Any, right: Any, bottom: Any) -> Any:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def score(dialect: Any, words: Any, detections: Any, texts: Any = None, ignore: Any = None) -> Any:
    metric = CLEval(dialect)
    texts = texts or [None] * len(words)
    metric.add("page", words, texts, ignore or [False] * len(words), detections)
    return metric.result()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", PAGES)
def test_pages_counted_by_hand(name: Any, dialect: Any) -> None:
    page = PAGES[name]
    texts = [word[4] for word in page["words"]]
    result = score(
        dialect,
        [box(*word[:4]) for word in page["words"]],
        [box(*b) for b in page["boxes"]],
        texts,
        [text == "###" for text in texts],
    )
    recall, precision = (float(Fraction(value)) for value in page[dialect])
    assert (result.recall, result.precision) == pytest.approx((recall, precision), abs=1e-12)
    hmean = 2 * recall * precision / (recall + precision) if recall + precision else 0
    assert result.hmean == pytest.approx(hmean, abs=1e-12)


def test_official_sums_counts_where_competition_averages_pages() -> None:
    # page a: 10 of 10 characters; page b: 0 of 2, its word missed. Squares have 2 characters.
    a, b = [box(0, 0, 20, 20)], [box(50, 50, 70, 70)]
    results = {}
    for dialect in DIALECTS:
        metric = CLEval(dialect)
        metric.add("a", a, ["abcdefghij"], [False], a)
        metric.add("b", b, ["kl"], [False], [])
        results[dialect] = metric.result()
    assert results["official"].recall == pytest.approx(10 / 12)
    assert results["official"].precision == 1
    assert results["competition"].recall == pytest.approx(0.5)
    assert results["competition"].hmean == pytest.approx(0.5)
    assert results["competition"].pages == {"a": (1, 1, 1), "b": (0, 0, 0)}


def test_missing_text_counts_the_shape_and_empty_text_counts_nothing() -> None:
    long_word = [box(0, 0, 1000, 20)]  # 50 times as wide as high: 10 officially at most
    assert count_page("official", long_word, [None], [False], []).truth == 10
    assert count_page("official", long_word, [""], [False], []).truth == 0
    assert count_page("official", long_word, ["abc"], [False], []).truth == 3
    assert count_page("competition", long_word, ["abc"], [False], []).truth == 50


def test_official_rounds_to_whole_pixels_and_competition_does_not() -> None:
    word, detection = [box(0, 0, 100, 20)], [box(0.4, 9.6, 100, 10.4)]
    # rounded, the strip is from y = 10 to y = 10: no area left
    assert score("official", word, detection, ["abcd"]).recall == 0
    assert score("competition", word, detection).recall == 1


def test_centres_on_a_shared_edge_are_found_once() -> None:
    # 3 characters at x = 10, 30, 50; the middle one on the edge between the two boxes
    counts = count_page(
        "official", [box(0, 0, 60, 20)], ["abc"], [False], [box(0, 0, 30, 20), box(30, 0, 60, 20)]
    )
    assert (counts.found, counts.detected, counts.split) == (3, 3, 1)


def test_a_curved_word_may_start_at_any_of_its_points() -> None:
    angles = np.linspace(1.25 * np.pi, 1.75 * np.pi, 7)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    outer, inner = 400 * ring + 500, 380 * ring + 500
    word = np.concatenate([outer, inner[::-1]])  # an arch, 566 x 131: 5 characters
    # its first four sections of six hold those at 0.6, 1.8 and 3 sections, not 4.2 and 5.4
    part = np.concatenate([outer[:5], inner[4::-1]])
    results = {
        score("competition", [np.roll(points, shift, axis=0)], [part]).recall
        for points in (word, word[::-1])
        for shift in range(14)
    }
    assert results == {0.6}


def test_whole_aspect_ratios_count_the_same_at_every_size() -> None:
    # round(0.5 + 9) = 10, half to even; single precision makes some of these 8.9999995
    counts = {
        count_page("competition", [box(0, 0, 81 * k, 9 * k)], [None], [False], []).truth
        for k in range(1, 200)
    }
    assert counts == {10}


# ---- what cannot be scored ------------------------------------------------------------

BAD_SHAPES = {
    "no points": np.zeros((0, 2)),
    "one pixel, one point": [[5, 5]],
    "two points": [[0, 0], [10, 0]],
    "not a number": [[0, 0], [10, 0], [10, float("nan")], [0, 10]],
    "infinite": [[0, 0], [10, 0], [float("inf"), 10], [0, 10]],
    "huge": [[0, 0], [1e300, 0], [1e300, 1e300], [0, 1e300]],
    "one place": [[5, 5], [5, 5], [5, 5], [5, 5]],
    "a line": [[0, 0], [10, 0], [20, 0], [10, 0]],
    "a back and forth": [[0, 0], [10, 10], [0, 0], [10, 10]],
    "three numbers a point": [[0, 0, 1], [10, 0, 1], [10, 10, 1], [0, 10, 1]],
    "beyond floats": [[0, 0], [10**400, 0], [10, 10], [0, 10]],
    "a ragged list": [[0, 0], [10], [10, 10], [0, 10]],
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", BAD_SHAPES.values(), ids=BAD_SHAPES)
def test_bad_words_are_left_out_and_bad_detections_are_one_false_character(
    shape: Any, dialect: Any
) -> None:
    good = box(100, 100, 120, 110)
    counts = count_page(dialect, [shape, good], ["abc", "de"], [False, False], [shape, good])
    assert (counts.words, counts.excluded_words, counts.truth) == (1, 1, 2)
    assert (counts.found, counts.false, counts.detected) == (2, 1, 3)


def test_triangles_are_no_words_but_are_detections() -> None:
    triangle = [[0, 0], [100, 0], [0, 20]]
    counts = count_page("competition", [triangle], [None], [False], [triangle])
    assert (counts.excluded_words, counts.words, counts.detections) == (1, 0, 1)
    assert count_page("competition", [box(0, 0, 50, 20)], [None], [False], [triangle]).found > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_bow_tie_keeps_both_halves(dialect: Any) -> None:
    # crosses itself at (50, 10): the middle line runs through both triangles
    bow = [[0, 0], [100, 20], [100, 0], [0, 20]]
    counts = count_page(dialect, [box(0, 0, 100, 20)], ["abcdefgh"], [False], [bow])
    assert counts.found == counts.truth


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("offset", [-(2**20), 2**20, 10**7])
def test_far_coordinates_score_like_near_ones(offset: Any, dialect: Any) -> None:
    words = [box(0, 0, 100, 20) + offset]
    result = score(dialect, words, [box(0, 0, 50, 20) + offset], ["abcdef"])
    assert (result.recall, result.precision) == (0.5, 1)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_pixel_word(dialect: Any) -> None:
    pixel = [box(3, 3, 4, 4)]
    assert score(dialect, pixel, pixel, ["a"]).hmean == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pages_without_anything_to_count_are_zero_and_blank_ones_are_named(dialect: Any) -> None:
    word = [box(0, 0, 20, 20)]
    metric = CLEval(dialect)
    assert metric.result().hmean == 0
    metric.add("both empty", [], [], [], [])
    metric.add("all ignored", word, ["###"], [True], word)
    metric.add("false positive", [], [], [], word)
    metric.add("found", word, ["ab"], [False], word)
    result = metric.result()
    assert result.blank_pages == 2
    assert result.pages["all ignored"] == (0, 0, 0)
    assert result.recall == (1 if dialect == "official" else 0.25)
    assert result.counts.ignored_words == result.counts.ignored_detections == 1


def test_blank_pages_can_be_left_out_of_the_means() -> None:
    word = [box(0, 0, 20, 20)]
    metric = CLEval("competition", blank="skip")
    metric.add("both empty", [], [], [], [])
    metric.add("all ignored", word, [None], [True], word)
    assert metric.result().pages == {}
    assert metric.result().hmean == 0
    metric.add("missed", word, [None], [False], [])
    metric.add("false positive", [], [], [], word)
    metric.add("found", word, [None], [False], word)
    result = metric.result()
    assert result.pages == {"found": (1, 1, 1), "missed": (0, 0, 0), "false positive": (0, 0, 0)}
    assert result.hmean == pytest.approx(1 / 3)
    assert (result.blank_pages, result.counts.ignored_words) == (2, 1)


def test_counts_of_elsewhere_can_be_added() -> None:
    word = [box(0, 0, 20, 20)]
    whole, parts = CLEval("competition"), CLEval("competition")
    whole.add("a", word, [None], [False], word)
    parts.add_counts("a", count_page("competition", word, [None], [False], word))
    assert parts.result() == whole.result()


def test_more_penalties_than_characters_do_not_go_below_zero() -> None:
    # one character, found by three detections: 1 - 2 < 0
    word = [box(0, 0, 20, 20)]
    assert score("official", word, word * 3, ["a"]).recall == 0


def test_many_overlapping_shapes_are_counted_in_full() -> None:
    words = [box(0, 0, 100, 20)] * 60
    counts = count_page("competition", words, [None] * 60, [False] * 60, words)
    assert counts.found == counts.truth == 360
    assert counts.detected == 60 * 360
    assert counts.split == counts.merged == 60 * 59


def test_wrong_use_is_refused() -> None:
    metric = CLEval("official")
    metric.add("a.jpg", [], [], [], [])
    with pytest.raises(InputError, match=r"a\.jpg: scored already"):
        metric.add("a.jpg", [], [], [], [])
    with pytest.raises(InputError, match=r"b\.jpg: 1 words, 0 texts and 1 ignore flags"):
        metric.add("b.jpg", [box(0, 0, 1, 1)], [], [False], [])
    with pytest.raises(InputError, match="one of competition, official, got 'poly'"):
        CLEval("poly")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot merge competition counts into official"):
        metric.merge(CLEval("competition"))
    with pytest.raises(InputError, match="blank: must be one of zero, skip, got 'one'"):
        CLEval("official", blank="one")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot merge blank=skip into blank=zero"):
        metric.merge(CLEval("official", blank="skip"))
    with pytest.raises(InputError, match=r"a\.jpg: scored already"):
        metric.add_counts("a.jpg", PageCounts())
    other = CLEval("official")
    other.add("a.jpg", [], [], [], [])
    with pytest.raises(InputError, match=r"a\.jpg: scored in both"):
        metric.merge(other)


# ---- properties -----------------------------------------------------------------------

cells = st.tuples(st.integers(0, 4), st.integers(0, 7), st.integers(12, 90), st.integers(4, 18))


@st.composite
def pages(draw: Any, apart: Any = False) -> Any:
    """Boxes of whole pixels and texts; `apart`: no two boxes touch."""
    unique = (lambda c: c[:2]) if apart else None
    grid = draw(st.lists(cells, min_size=1, max_size=8, unique_by=unique))
    step = (100, 20) if apart else (60, 12)
    boxes = [box(x * step[0], y * step[1], x * step[0] + w, y * step[1] + h) for x, y, w, h in grid]
    texts = draw(
        st.lists(st.text("abc", min_size=1, max_size=9), min_size=len(boxes), max_size=len(boxes))
    )
    return boxes, texts


def counts_of(dialect: Any, words: Any, texts: Any, detections: Any, ignore: Any = None) -> Any:
    return count_page(dialect, words, texts, ignore or [False] * len(words), detections)


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(40)
@given(page=pages(apart=True))
def test_words_that_do_not_overlap_score_one_against_themselves(dialect: Any, page: Any) -> None:
    boxes, texts = page
    assert counts_of(dialect, boxes, texts, boxes).scores() == (1, 1, 1)


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(40)
@given(page=pages(), found=pages(), seed=st.integers(0, 99), ignored=st.integers(0, 255))
def test_order_of_words_and_detections_does_not_matter(
    dialect: Any, page: Any, found: Any, seed: Any, ignored: Any
) -> None:
    (boxes, texts), (detections, _) = page, found
    ignore = [bool(ignored >> i & 1) for i in range(len(boxes))]
    order = np.random.default_rng(seed).permutation(len(boxes))
    other = np.random.default_rng(seed + 1).permutation(len(detections))
    assert counts_of(dialect, boxes, texts, detections, ignore) == counts_of(
        dialect,
        [boxes[i] for i in order],
        [texts[i] for i in order],
        [detections[i] for i in other],
        [ignore[i] for i in order],
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(40)
@given(page=pages(), found=pages(), x=st.integers(-500, 500), y=st.integers(-500, 500))
def test_moving_the_page_does_not_matter(
    dialect: Any, page: Any, found: Any, x: Any, y: Any
) -> None:
    (boxes, texts), (detections, _) = page, found
    moved = [np.add(b, (x, y)) for b in boxes], texts, [np.add(d, (x, y)) for d in detections]
    assert counts_of(dialect, boxes, texts, detections) == counts_of(dialect, *moved)


@examples(40)
@given(page=pages(), found=pages(), factor=st.integers(2, 9))
def test_enlarging_the_page_does_not_matter(page: Any, found: Any, factor: Any) -> None:
    (boxes, texts), (detections, _) = page, found
    larger = [b * factor for b in boxes], texts, [d * factor for d in detections]
    assert counts_of("competition", boxes, texts, detections) == counts_of("competition", *larger)


@examples(40)
@given(page=pages(), found=pages(), shift=st.integers(0, 3), mirrored=st.booleans())
def test_competition_words_may_start_at_any_corner(
    page: Any, found: Any, shift: Any, mirrored: Any
) -> None:
    (boxes, texts), (detections, _) = page, found
    turned = [np.roll(b[::-1] if mirrored else b, shift, axis=0) for b in boxes]
    spun = [np.roll(d, shift, axis=0) for d in detections]
    assert counts_of("competition", boxes, texts, detections) == counts_of(
        "competition", turned, texts, spun
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(40)
@given(page=pages(apart=True), data=st.data())
def test_dropping_a_detection_never_raises_recall(dialect: Any, page: Any, data: Any) -> None:
    boxes, texts = page
    kept = data.draw(st.lists(st.sampled_from(range(len(boxes))), unique=True))
    fewer = kept[1:]
    more, less = (
        counts_of(dialect, boxes, texts, [boxes[i] for i in chosen]) for chosen in (kept, fewer)
    )
    assert less.scores()[0] <= more.scores()[0]
    assert less.found <= more.found


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(60)
@given(page=pages(), found=pages(), dropped=st.integers(0, 7))
def test_dropping_a_detection_finds_nothing_new_and_only_saves_splits(
    dialect: Any, page: Any, found: Any, dropped: Any
) -> None:
    # holds without ignored words; a dropped detection is at most one split less for each word
    (boxes, texts), (detections, _) = page, found
    match = read_words(dialect, boxes, texts, [False] * len(boxes)).match(detections)
    active = np.ones((2, len(detections)), dtype=bool)
    active[1, dropped % len(detections)] = False
    more, less = match.counts(active)
    assert less.found <= more.found
    words_of_it = match.matched()[:, dropped % len(detections)].sum()
    assert less.found - less.split <= more.found - more.split + words_of_it


def test_dropping_a_duplicate_raises_recall() -> None:
    # as published: the second detection of a word is a split, though it is the same box
    word = [box(0, 0, 100, 20)]
    assert score("official", word, word * 2, ["abcdefghij"]).recall == 0.9
    assert score("official", word, word, ["abcdefghij"]).recall == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dropping_a_forgiven_detection_may_find_a_word(dialect: Any) -> None:
    # 15/25 of the second detection is on the word, 10/25 on the ignored one: it is forgiven,
    # but the word then is close to two detections, so neither is its one-to-one match
    words, ignore = [box(0, 0, 100, 20), box(0, 20, 100, 40)], [False, True]
    exact, between = box(0, 0, 100, 20), box(0, 5, 100, 30)
    texts = ["abcdefghij", "###"]
    assert score(dialect, words, [exact, between], texts, ignore).recall == 0
    assert score(dialect, words, [exact], texts, ignore).recall == 1


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(25)
@given(
    content=st.lists(st.tuples(pages(), pages()), min_size=1, max_size=6),
    worker=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    order=st.permutations(range(3)),
)
def test_merged_collectors_equal_one(dialect: Any, content: Any, worker: Any, order: Any) -> None:
    whole, parts = CLEval(dialect), [CLEval(dialect) for _ in range(3)]
    for i, ((boxes, texts), (detections, _)) in enumerate(content):
        for metric in (whole, parts[worker[i]]):
            metric.add(f"{i}", boxes, texts, [False] * len(boxes), detections)
    first, second, third = (parts[i] for i in order)
    second.merge(third)
    first.merge(second)
    assert first.result() == whole.result()


def test_counts_add_up() -> None:
    assert PageCounts(truth=3, found=1) + PageCounts(truth=4, false=2) == PageCounts(
        truth=7, found=1, false=2
    )
