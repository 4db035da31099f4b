"""Numbers that describe a split: what to know before choosing image and crop sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from detector.data.labels.pages import KINDS, Fault, Page, Word
from detector.data.page.preprocess import page_scale, page_sides

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def describe(
    pages: Sequence[Page], faults: Sequence[Fault], longest_side_px: int | None
) -> dict[str, Any]:
    """Counts and distributions of the usable pages of a split, ready for JSON.

    A word's height is the short side of its smallest rotated rectangle: in source pixels, and
    after its page is resized to `longest_side_px`, as a training does by default where that is
    None. Distributions of nothing are None.
    """
    words = [word for page in pages for word in page.words]
    sides, at = page_sides(longest_side_px, None), longest_side_px or "training"
    heights = [
        (word_height(w), page_scale(p.width, p.height, *sides)) for p in pages for w in p.words
    ]
    excluded = Counter(f.kind for f in faults if KINDS[f.kind] == "word excluded")
    return {
        "pages": len(pages),
        "pages_without_words": sum(not page.words for page in pages),
        "words": len(words),
        "dont_care": sum(word.ignore for word in words),
        "words_with_text": sum(word.text is not None for word in words),
        "excluded_words": dict(excluded.most_common()),
        "excluded_pages": len({f.file for f in faults if KINDS[f.kind] == "page excluded"}),
        "words_per_page": _spread([len(page.words) for page in pages]),
        "page_longest_side_px": _spread([max(p.width, p.height) for p in pages]),
        "word_height_source_px": _percentiles([height for height, _ in heights]),
        f"word_height_at_{at}_px": _percentiles([h * s for h, s in heights]),
        "points_per_word": _counts(len(word.points) for word in words),
        "languages": _counts(name for word in words for name in word.languages),
        "orientations": _counts(w.orientation for w in words if w.orientation is not None),
    }


def word_height(word: Word) -> float:
    """The short side of the smallest rotated rectangle around a word, in source pixels."""
    return float(min(cv2.minAreaRect(word.points)[1]))


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    found = np.percentile(values, _PERCENTILES)
    return {f"p{p}": round(float(v), 2) for p, v in zip(_PERCENTILES, found, strict=True)}


def _counts(values: Any) -> dict[str, int]:
    return {str(value): count for value, count in Counter(values).most_common()}
