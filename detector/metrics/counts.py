"""What is counted on a page, and for which selections of its detections."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.core.errors import InputError


@dataclass(frozen=True, slots=True)
class PageCounts:
    """Characters counted on one page. All whole numbers, so that sums are exact."""

    truth: int = 0  # characters to find
    found: int = 0  # of these, covered by a matched detection
    split: int = 0  # penalty: further detections of a word
    detected: int = 0  # characters inside matched detections, repeats included, + false
    merged: int = 0  # penalty: further words of a detection
    false: int = 0  # characters that detections without a word stand for
    words: int = 0  # words that count
    ignored_words: int = 0
    excluded_words: int = 0  # words whose outline describes no area
    detections: int = 0  # detections that count
    ignored_detections: int = 0

    def __add__(self, other: PageCounts) -> PageCounts:
        return PageCounts(*map(add, _figures(self), _figures(other)))

    def scores(self) -> tuple[float, float, float]:
        """Recall, precision and their harmonic mean; 0 where there is nothing to count."""
        recall = max(0, self.found - self.split) / self.truth if self.truth else 0.0
        precision = max(0, self.found - self.merged) / self.detected if self.detected else 0.0
        total = recall + precision
        return recall, precision, 2 * recall * precision / total if total else 0.0


_figures = attrgetter(*(field.name for field in fields(PageCounts)))


Counts = TypeVar("Counts")


class Collector(Generic[Counts]):
    """The counts of pages by name, every page once."""

    def __init__(self) -> None:
        self._pages: dict[str, Counts] = {}

    def add_counts(self, name: str, counts: Counts) -> None:
        """Take over the counts of a page. Raises InputError for a name already added."""
        self._check_new(name)
        self._pages[name] = counts

    def _check_new(self, name: str) -> None:
        if name in self._pages:
            raise InputError(f"{name}: scored already; every page counts once")

    def _take_over(self, other: Collector[Counts]) -> None:
        if twice := sorted(self._pages.keys() & other._pages.keys()):
            raise InputError(f"{twice[0]}: scored in both; every page counts once")
        self._pages.update(other._pages)


def active_rows(active: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    """`(S, count)` selections of detections; None selects all of them, in one row.

    Raises InputError for anything but a bool array of that shape.
    """
    if active is None:
        return np.ones((1, count), dtype=bool)
    rows = np.asarray(active)
    if rows.dtype != bool or rows.ndim != 2 or rows.shape[1] != count:
        raise InputError(
            f"active: must be bool of shape (selections, {count}), one column for each "
            f"detection, got {rows.dtype} of shape {rows.shape}"
        )
    return rows
