from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detector.data.labels.pages import Page, Word, fault
from detector.review.statistics import describe, word_height


def word(x: float, height: float, *, ignore: bool = False, languages: tuple[str, ...] = ()) -> Word:
    points = np.array([[x, 0], [x + 50, 0], [x + 50, height], [x, height]], np.float32)
    return Word("1", points, None if ignore else "A", ignore, languages, "Horizontal")


def test_counts_and_heights() -> None:
    first = Page("a.jpg", Path("a.jpg"), 200, 400, (word(0, 10), word(60, 20, languages=("en",))))
    second = Page("b.jpg", Path("b.jpg"), 100, 50, (word(0, 30, ignore=True),))
    blank = Page("c.jpg", Path("c.jpg"), 100, 50, ())
    faults = [
        fault("a.jpg", "2", "zero-area", "x"),
        fault("a.jpg", "3", "zero-area", "x"),
        fault("a.jpg", "4", "partly-outside", "x"),
        fault("d.jpg", None, "no-image", "x"),
    ]
    stats = describe([first, second, blank], faults, 800)
    assert (stats["pages"], stats["pages_without_words"], stats["excluded_pages"]) == (3, 1, 1)
    assert (stats["words"], stats["dont_care"], stats["words_with_text"]) == (3, 1, 2)
    assert stats["excluded_words"] == {"zero-area": 2}
    assert stats["words_per_page"] == {"min": 0, "median": 1.0, "max": 2}
    assert stats["word_height_source_px"]["p50"] == 20
    # Heights 10 and 20 on a page scaled by 2, height 30 on one scaled by 8.
    assert stats["word_height_at_800_px"]["p50"] == 40
    assert stats["languages"] == {"en": 1}
    assert stats["orientations"] == {"Horizontal": 3}
    assert stats["points_per_word"] == {"4": 3}


def test_height_of_a_turned_word_is_its_short_side() -> None:
    points = np.array([[0, 0], [30, 40], [22, 46], [-8, 6]], np.float32)  # 50 x 10, turned
    assert word_height(Word("1", points, None, False)) == pytest.approx(10, abs=1e-3)


def test_nothing_has_no_distribution() -> None:
    stats = describe([], [], 1024)
    assert stats["words_per_page"] is None
    assert stats["word_height_source_px"] is None
