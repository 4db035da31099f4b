from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.core.geometry import transform_points
from detector.data.crops.targets import make_targets
from detector.data.labels.annotations import require_words
from detector.data.labels.pages import Page, Split, Word
from detector.data.labels.trained import WordSizes, marks_of_others, thin_words, untrained
from detector.data.page.preprocess import page_scale
from detector.inference.detector import make_preprocess

DEFAULT = WordSizes(None, None, None, 3.0)
LONGEST = replace(DEFAULT, longest_side_px=1024)


def word(left: float, top: float, wide: float, high: float, ignore: bool = False) -> Word:
    corners = [[left, top], [left + wide, top], [left + wide, top + high], [left, top + high]]
    return Word(f"{left} {top}", np.array(corners, np.float32), None, ignore)


def split(width: int, height: int, *words: Word) -> Split:
    return Split("train", (Page("a.png", Path("a.png"), width, height, words),), ())


def test_the_default_size_is_that_of_a_training() -> None:
    config = TrainConfig()
    prepared = make_preprocess(config, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    for width, height in [(600, 4800), (1280, 960), (600, 20_000)]:
        assert DEFAULT.scale(split(width, height).pages[0]) == prepared.scale(width, height)
    assert config.targets.min_side_px == DEFAULT.min_side_px


def test_a_long_receipt_keeps_its_words() -> None:
    """600 x 4800: 128 x 1024 by the longest side, 736 x 5888 by default."""
    long = split(600, 4800, word(10, 10, 200, 12), word(10, 30, 200, 24, ignore=True))
    assert DEFAULT.scale(long.pages[0]) == pytest.approx(736 / 600)
    assert LONGEST.scale(long.pages[0]) == pytest.approx(128 / 600)
    assert untrained(split(600, 4800, word(10, 10, 200, 12)), DEFAULT) is None
    assert str(untrained(long, DEFAULT)) == "1 of 2 words are not for training: 1 don't-care"
    assert str(untrained(long, LONGEST)) == (
        "2 of 2 words are not for training: 1 under targets.min_side_px=3 px at the size of pages "
        "here (set data.longest_side_px=1216), 1 don't-care"  # 12 px at 1200: 3 px
    )
    with pytest.raises(InputError, match=r"data: split 'train': no word can be trained on: 1 unde"):
        require_words(long, Path("data"), LONGEST)
    require_words(long, Path("data"), DEFAULT)
    assert untrained(split(600, 10_000, word(10, 9900, 200, 24)), DEFAULT) is None


def test_a_cropped_page_has_the_scale_of_its_text() -> None:
    found = split(1000, 1000, word(100, 100, 199, 9), word(100, 290, 199, 9))
    cropped = WordSizes(100, None, 0.0, 3.0)
    assert cropped.scale(found.pages[0]) == pytest.approx(100 / 200)
    assert thin_words(found, cropped) == []
    assert thin_words(found, replace(cropped, crop_margin=None)) == pytest.approx([0.9, 0.9])
    assert cropped.scale(split(50, 20).pages[0]) == 2


@pytest.mark.parametrize(
    ("sizes", "heights", "said"),
    [
        (WordSizes(320, None, None, 3.0), [20, 4], "set data.longest_side_px=768"),
        (
            WordSizes(320, 320, None, 3.0),
            [4],
            "longest_side_px=768 preprocess.shortest_side_px=768",
        ),
        (WordSizes(None, 320, None, 6.0), [4], "set preprocess.shortest_side_px=1504"),
        # One in ten may stay thin: slivers need not be made words.
        (WordSizes(320, None, None, 3.0), [4] * 30 + [0.1], "set data.longest_side_px=768"),
        (WordSizes(320, None, None, 3.0), [0.1], "set targets.min_side_px=0.03"),
        # Twelve times as large, with 144 times the work, for 1 word of 1000.
        (WordSizes(320, None, None, 3.0), [20] * 999 + [0.8], "(too few for larger pages to be"),
        (WordSizes(320, None, None, 3.0), [20] * 998 + [0.8], "set data.longest_side_px=3776"),
    ],
)
def test_what_to_set_by_hand(sizes: WordSizes, heights: list[float], said: str) -> None:
    words = [word(10, 10 + 25 * i, 100, high) for i, high in enumerate(heights)]
    told = untrained(split(1000, 1000, *words), sizes)
    assert told is not None
    assert said in told.reasons


@examples(60)
@given(st.floats(1, 12), st.floats(20, 60), st.floats(0, 3.1), st.integers(64, 1200))
def test_a_word_is_thin_when_the_label_maps_leave_it_out(
    high: float, wide: float, angle: float, longest: int
) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (word(-wide / 2, -high / 2, wide, high).points @ turn.T + 100).astype(np.float32)
    sizes = WordSizes(longest, None, None, 3.0)
    found = Split("t", (Page("a", Path("a"), 200, 200, (Word("1", points, None, False),)),), ())
    scale = page_scale(200, 200, longest, None)
    assume(abs(high * scale - 3) > 0.01)  # else rounding decides
    moved = transform_points(points, [[scale, 0, 0], [0, scale, 0]])
    maps = make_targets([moved], [False], longest, longest, min_side_px=3.0)
    assert bool(thin_words(found, sizes)) == (maps.shrink_mask.min() == 0)


def texts(*own: str | None) -> Split:
    return split(100, 100, *(replace(word(1, i, 9, 1), text=t) for i, t in enumerate(own)))


def test_marks_of_other_tools_are_told_with_what_to_set() -> None:
    some = texts("#", "*", "xxx", "XXX", "illegible", "Tea", None, "x", "# 1", "xx", "Max", "")
    assert marks_of_others(some, ("~",)) == (
        "5 of 10 texts that count are #, *, XXX, illegible, xxx, as other tools write where a word "
        "cannot be read; where that is meant, set "
        """'data.dont_care=["~","#","*","XXX","illegible","xxx"]'"""
    )


def test_a_few_marks_are_words_and_those_that_are_dont_care_are_told_already() -> None:
    assert marks_of_others(texts("*", *["Tea"] * 19)) is None
    assert marks_of_others(texts("*", *["Tea"] * 18)) is not None
    (page,) = texts("#", "Tea").pages
    ignored = replace(page, words=(replace(page.words[0], ignore=True), page.words[1]))
    assert marks_of_others(Split("train", (ignored,), ())) is None
    assert marks_of_others(texts(None, None)) is None
