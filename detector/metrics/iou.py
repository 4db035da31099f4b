"""Precision, recall and H-mean of whole boxes at an IoU threshold, as in ICDAR 2015.

CLEval hardly sees how tight a detection is; this figure does, and stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from detector.errors import InputError
from detector.metrics.regions import as_points, overlap_areas, to_regions

# A detection is forgiven when more than this share of its area lies on an ignored word.
_FORGIVEN_SHARE = 0.5


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


class IoU:
    """Collects pages and matches each word to at most one detection, best overlap first.

    A pair may match when its intersection over union is above `threshold`. Raises
    InputError for a threshold outside [0, 1).
    """

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 <= threshold < 1:
            raise InputError(f"threshold: must be from 0 to below 1, got {threshold!r}")
        self.threshold = threshold
        self._pages: dict[str, tuple[int, int, int, int]] = {}

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
        if name in self._pages:
            raise InputError(f"{name}: scored already; every page counts once")
        if len(truth) != len(ignore):
            raise InputError(f"{name}: {len(truth)} words but {len(ignore)} ignore flags")
        shapes = [as_points(p) for p in truth]
        words = to_regions([p if len(p) >= 4 else p[:0] for p in shapes])
        solid = shapely.area(words) > 0
        ignored = np.asarray(ignore, dtype=bool)
        found = to_regions([as_points(p) for p in detections])
        forgiven = _forgiven(words[solid & ignored], found)
        words, found = words[solid & ~ignored], found[~forgiven]
        matched = _matched(_overlaps(words, found), self.threshold)
        self._pages[name] = (matched, len(words), len(found), int(forgiven.sum()))

    def merge(self, other: IoU) -> None:
        """Take over another collector's pages: the same as having added them all here.

        Raises InputError when the thresholds differ or a page is in both.
        """
        if other.threshold != self.threshold:
            raise InputError(
                f"cannot merge counts at IoU {other.threshold} into those at {self.threshold}"
            )
        if twice := sorted(self._pages.keys() & other._pages.keys()):
            raise InputError(f"{twice[0]}: scored in both; every page counts once")
        self._pages.update(other._pages)

    def result(self) -> IoUResult:
        """The scores of all pages so far; 0 without any."""
        matched, words, detections, forgiven = (
            sum(page[i] for page in self._pages.values()) for i in range(4)
        )
        total = words + detections
        return IoUResult(
            recall=matched / words if words else 0.0,
            precision=matched / detections if detections else 0.0,
            hmean=2 * matched / total if total else 0.0,
            matched=matched,
            words=words,
            detections=detections,
            ignored_detections=forgiven,
        )


def _forgiven(ignored: NDArray[np.object_], found: NDArray[np.object_]) -> NDArray[np.bool_]:
    """`(D,)` detections that lie mostly on one ignored word."""
    on_ignored = overlap_areas(ignored, found)
    return np.any(on_ignored > _FORGIVEN_SHARE * shapely.area(found), axis=0)


def _overlaps(words: NDArray[np.object_], found: NDArray[np.object_]) -> NDArray[np.float64]:
    """`(G, D)` intersection over union."""
    shared = overlap_areas(words, found)
    union = shapely.area(words)[:, None] + shapely.area(found)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _matched(overlaps: NDArray[np.float64], threshold: float) -> int:
    """Pairs taken in order of falling overlap, each word and detection at most once."""
    rows, columns = np.nonzero(overlaps > threshold)
    order = np.argsort(-overlaps[rows, columns], kind="stable")
    words: set[int] = set()
    detections: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in words and column not in detections:
            words.add(row)
            detections.add(column)
    return len(words)
