"""Precision, recall and H-mean of whole boxes at an IoU threshold, as in ICDAR 2015.

CLEval hardly sees how tight a detection is; this figure does, and stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from detector.core.errors import InputError
from detector.metrics.counts import Collector, active_rows
from detector.metrics.overlap import meeting_pairs, shared_areas
from detector.metrics.polygons import Indices, read_polygons
from detector.metrics.regions import Bools, Regions, read_regions, to_regions

# A detection is forgiven when more than this share of its area lies on an ignored word.
_FORGIVEN_SHARE = 0.5
# Shares above a limit by less than this are at the limit, but for rounding.
_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class IoUCounts:
    """Boxes counted on one page or on several."""

    matched: int = 0  # pairs of a word and a detection
    words: int = 0  # words that count
    detections: int = 0  # detections that count
    ignored_detections: int = 0

    def __add__(self, other: IoUCounts) -> IoUCounts:
        return IoUCounts(
            self.matched + other.matched,
            self.words + other.words,
            self.detections + other.detections,
            self.ignored_detections + other.ignored_detections,
        )

    def scores(self) -> tuple[float, float, float]:
        """Recall, precision and their harmonic mean; 0 where there is nothing to count."""
        recall = self.matched / self.words if self.words else 0.0
        precision = self.matched / self.detections if self.detections else 0.0
        boxes = self.words + self.detections
        return recall, precision, 2 * self.matched / boxes if boxes else 0.0


@dataclass(frozen=True)
class IoUResult:
    """Scores in [0, 1] of the summed counts; 0 where there is nothing to count."""

    recall: float
    precision: float
    hmean: float
    matched: int
    words: int
    detections: int
    ignored_detections: int


class IoU(Collector[IoUCounts]):
    """Collects pages and matches each word to at most one detection, best overlap first.

    A pair may match when its intersection over union is above `threshold`. Raises
    InputError for a threshold outside [0, 1).
    """

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        _check_threshold(threshold)
        self.threshold = threshold

    def add(
        self,
        name: str,
        truth: Sequence[ArrayLike],
        ignore: Sequence[bool],
        detections: Sequence[ArrayLike],
    ) -> None:
        """Count one page. Polygons are `(K, 2)` xy in pixels.

        Words without an area or with fewer than four points are left out; detections
        without one cannot match. Raises InputError for a name already added and for lists
        of different lengths.
        """
        self._check_new(name)
        if len(truth) != len(ignore):
            raise InputError(f"{name}: {len(truth)} words but {len(ignore)} ignore flags")
        words = iou_words(truth, ignore)
        self._pages[name] = words.match(detections, self.threshold).counts()[0]

    def merge(self, other: IoU) -> None:
        """Take over another collector's pages: the same as having added them all here.

        Raises InputError when the thresholds differ or a page is in both.
        """
        if other.threshold != self.threshold:
            raise InputError(
                f"cannot merge counts at IoU {other.threshold} into those at {self.threshold}"
            )
        self._take_over(other)

    def result(self) -> IoUResult:
        """The scores of all pages so far; 0 without any."""
        total = sum(self._pages.values(), IoUCounts())
        recall, precision, hmean = total.scores()
        return IoUResult(
            recall=recall,
            precision=precision,
            hmean=hmean,
            matched=total.matched,
            words=total.words,
            detections=total.detections,
            ignored_detections=total.ignored_detections,
        )


@dataclass(frozen=True, eq=False)
class IoUWords:
    """The words of a page that have an area (G), to be matched with any detections."""

    ignored: Bools  # (G,)
    _regions: Regions = field(repr=False)

    def match(self, detections: Sequence[ArrayLike] | Regions, threshold: float = 0.5) -> IoUMatch:
        """Compare the words with D detections, polygons `(K, 2)` xy in pixels or their regions.

        Raises InputError for a threshold outside [0, 1).
        """
        _check_threshold(threshold)
        found = read_regions(detections)
        word, detection = meeting_pairs(self._regions.boxes, found.boxes)
        ignored = self.ignored[word]
        possible = ignored | self._may_match(found, word, detection, threshold)
        word, detection, ignored = word[possible], detection[possible], ignored[possible]
        shared = shared_areas(self._regions, found, word, detection)
        area = found.areas[detection]

        forgiven = np.zeros(len(found), dtype=bool)
        forgiven[detection[ignored & (shared > (_FORGIVEN_SHARE + _NOISE) * area)]] = True
        overlap = shared / (self._regions.areas[word] + area - shared)
        match = np.flatnonzero((overlap > threshold + _NOISE) & ~ignored & ~forgiven[detection])
        match = match[np.argsort(-overlap[match], kind="stable")]
        count = len(self.ignored) - int(self.ignored.sum())
        return IoUMatch(forgiven, count, word[match], detection[match])

    def _may_match(
        self, found: Regions, word: Indices, detection: Indices, threshold: float
    ) -> Bools:
        """`(P,)` whether the bounding boxes share enough for the threshold."""
        words = self._regions
        low = np.maximum(words.boxes.low[:, word], found.boxes.low[:, detection])
        high = np.minimum(words.boxes.high[:, word], found.boxes.high[:, detection])
        width, height = high - low
        most = width * height * (1 + 1e-9)
        union = words.areas[word] + found.areas[detection] - most
        return np.asarray(most >= threshold * union)


@dataclass(frozen=True, eq=False)
class IoUMatch:
    """Words and D detections compared; see `IoUWords.match`."""

    forgiven: Bools  # (D,) detections that lie mostly on an ignored word
    words: int  # words that count
    # pairs above the threshold that count, in order of falling overlap
    _word: Indices = field(repr=False)
    _detection: Indices = field(repr=False)

    def counts(self, active: ArrayLike | None = None) -> list[IoUCounts]:
        """One `IoUCounts` for each row of `active`, as if only those detections existed.

        `active` is `(S, D)` bool, or None for one row of all detections. Raises InputError
        for another shape or type.
        """
        rows = active_rows(active, len(self.forgiven))
        per_word, per_detection = np.bincount(self._word), np.bincount(self._detection)
        single = (per_word[self._word] == 1) & (per_detection[self._detection] == 1)
        matched = rows[:, self._detection[single]].sum(axis=1)
        words, detections = self._word[~single].tolist(), self._detection[~single].tolist()
        if words:
            contested = rows[:, self._detection[~single]].tolist()
            matched += [_take_turns(words, detections, row) for row in contested]
        counted = (rows & ~self.forgiven).sum(axis=1)
        ignored = rows.sum(axis=1) - counted
        columns = matched.tolist(), counted.tolist(), ignored.tolist()
        return [IoUCounts(m, self.words, c, i) for m, c, i in zip(*columns, strict=True)]


def _take_turns(words: list[int], detections: list[int], active: list[bool]) -> int:
    """Pairs taken in the order given, each word and detection at most once."""
    taken: set[int] = set()
    matched: set[int] = set()
    for word, detection, there in zip(words, detections, active, strict=True):
        if there and word not in taken and detection not in matched:
            taken.add(word)
            matched.add(detection)
    return len(taken)


def iou_words(truth: Sequence[ArrayLike], ignore: Sequence[bool]) -> IoUWords:
    """The words of a page, ready to be matched; the arguments are those of `IoU.add`."""
    polygons = read_polygons(truth)
    regions = to_regions(polygons)
    kept = ((polygons.lengths >= 4) & (regions.areas > 0)).nonzero()[0]
    return IoUWords(np.array(ignore, dtype=bool)[kept], regions.take(kept))


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise InputError(f"threshold: must be from 0 to below 1, got {threshold!r}")
