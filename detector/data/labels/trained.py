"""Which words a training leaves out, or perhaps should, told before an image is read."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np

from detector.core.escape import printable
from detector.core.geometry import text_box
from detector.data.labels.pages import Page, Split, Word
from detector.data.page.preprocess import LONGEST_SIDE_PX, page_scale, page_sides
from detector.data.raw.marks import is_dont_care

# What other tools and datasets write where a word cannot be read.
_MARK = re.compile(r"#+|\*+|x{3,}", re.IGNORECASE)
# A receipt may well have a `#` or a `*` of its own.
_NOTED_SHARE = 0.05
# Of all words: pages made larger for fewer would cost far more than these words teach.
_FEW = 0.001


@dataclass(frozen=True)
class WordSizes:
    """The settings that decide how large a word is in training, and how large it must be.

    longest_side_px, shortest_side_px: see `page_sides`.
    crop_margin: around the words of a page; None where pages are not cropped.
    min_side_px: the shortest side of a word, see `detector.data.crops.targets.make_targets`.
    """

    longest_side_px: int | None
    shortest_side_px: int | None
    crop_margin: float | None
    min_side_px: float

    def scale(self, page: Page) -> float:
        """What a page is enlarged by, before augmentation zooms; it is taken to lie flat."""
        size = (page.width, page.height)
        if self.crop_margin is not None:
            x0, y0, x1, y1 = text_box([w.points for w in page.words], size, self.crop_margin) or (
                *(0, 0),
                *size,
            )
            size = (x1 - x0, y1 - y0)
        return page_scale(*size, *page_sides(self.longest_side_px, self.shortest_side_px))

    def enlarged(self, by: float) -> WordSizes:
        """The sizes at which pages are larger, as far as settings allow."""
        longest, shortest = page_sides(self.longest_side_px, self.shortest_side_px)
        larger = _times(longest, by) if self.longest_side_px is not None else None
        return replace(
            self,
            longest_side_px=larger,
            shortest_side_px=None if shortest is None else _times(shortest, by),
        )


@dataclass(frozen=True)
class Untrained:
    """How many words of a split a training leaves out, with the reasons and what to set as text."""

    words: int
    of: int
    reasons: str

    def __str__(self) -> str:
        return f"{self.words:,} of {self.of:,} words are not for training: {self.reasons}"


def untrained(split: Split, sizes: WordSizes) -> Untrained | None:
    """The words that are too thin or don't-care; None without any."""
    thin = thin_words(split, sizes)
    words = [word for page in split.pages for word in page.words]
    ignored = sum(word.ignore for word in words)
    reasons = []
    if thin:
        reasons.append(
            f"{len(thin):,} under targets.min_side_px={sizes.min_side_px:g} px at the size of "
            f"pages here ({_remedy(split, sizes, thin)})"
        )
    if ignored:
        reasons.append(f"{ignored:,} don't-care")
    return Untrained(len(thin) + ignored, len(words), ", ".join(reasons)) if reasons else None


def apart(train: Split, val: Split) -> tuple[Split, str | None]:
    """The split to train on without pages of the one to score on, and what to say of such pages.

    They stay where training would have no page without them, and where the two are one split.
    """
    scored = {page.path for page in val.pages}
    others = tuple(page for page in train.pages if page.path not in scored)
    both = len(train.pages) - len(others)
    if not both:
        return train, None
    if others and train.name != val.name:
        return replace(train, pages=others), (
            f"{both:,} of {len(train.pages):,} pages are for validation, and not trained on"
        )
    return train, (
        f"{both:,} of {len(val.pages):,} pages to score on are trained on too, so scores tell "
        "nothing of new pages; add pages for validation"
    )


def marks_of_others(split: Split, dont_care: Collection[str] = ()) -> str | None:
    """What to say of texts that are marks of other tools for what cannot be read, and count here.

    None where they are few. `dont_care` are the texts that are don't-care already.
    """
    words = (word for page in split.pages for word in page.words if not word.ignore)
    texts = [word.text for word in words if word.text]
    marks = Counter(t for t in texts if _MARK.fullmatch(t.strip()) or is_dont_care(t))
    if marks.total() <= _NOTED_SHARE * len(texts):
        return None
    listed = json.dumps([*dont_care, *sorted(marks)], ensure_ascii=False, separators=(",", ":"))
    return printable(
        f"{marks.total():,} of {len(texts):,} texts that count are {', '.join(sorted(marks))}, as "
        "other tools write where a word cannot be read; where that is meant, set "
        f"{shlex.quote(f'data.dont_care={listed}')}"
    )


def thin_words(split: Split, sizes: WordSizes) -> list[float]:
    """The short sides, in pixels of a training, of the words that count but for being too thin."""
    sides = (
        _short_side(word) * scale
        for page in split.pages
        for scale in [sizes.scale(page)]
        for word in page.words
        if not word.ignore
    )
    return [side for side in sides if side < sizes.min_side_px]


def _remedy(split: Split, sizes: WordSizes, thin: list[float]) -> str:
    """What to set so that nine in ten of the thin words are trained on, where it is worth it."""
    if len(thin) <= _FEW * sum(len(page.words) for page in split.pages):
        return "too few for larger pages to be worth it"
    tenth = float(np.quantile(thin, 0.1, method="lower"))
    larger = sizes.enlarged(sizes.min_side_px / max(tenth, 1e-6))
    if len(thin_words(split, larger)) > len(thin) / 10:
        return f"set targets.min_side_px={math.floor(tenth * 100) / 100:g}"
    given = {
        "data.longest_side_px": larger.longest_side_px,
        "preprocess.shortest_side_px": larger.shortest_side_px,
    }
    return "set " + " ".join(f"{key}={px}" for key, px in given.items() if px is not None)


def _short_side(word: Word) -> float:
    """Of the smallest rectangle around a word, in pixels of the image file."""
    return float(min(cv2.minAreaRect(word.points - word.points[0])[1]))


def _times(side_px: int, by: float) -> int:
    return min(LONGEST_SIDE_PX, math.ceil(side_px * min(by, LONGEST_SIDE_PX) / 32) * 32)
