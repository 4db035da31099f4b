"""The figures of an evaluation, under the names that every command and file uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from detector.core.errors import JobError
from detector.data.labels.pages import Page
from detector.metrics.cleval import CLEval, CLEvalResult, PageCounts, Words, read_words
from detector.metrics.iou import IoU, IoUCounts, IoUResult, IoUWords, iou_words
from detector.metrics.regions import Regions, read_regions

METRICS = (
    "hmean",
    "precision",
    "recall",
    "hmean_pooled",
    "iou_hmean",
    "iou_precision",
    "iou_recall",
)


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1] over the pages of a split.

    `hmean`, `precision` and `recall` are the ranking metric: CLEval's competition dialect,
    averaged over pages, without the pages that rightly have nothing on them. `hmean_pooled`
    is the official CLEval, its counts summed over the split. The `iou_*` scores match boxes
    at IoU 0.5, since CLEval hardly sees how tight a box is. `page_hmeans` maps each page of
    the mean to its competition H-mean; `blank_pages` are left out of it.
    """

    hmean: float
    precision: float
    recall: float
    hmean_pooled: float
    iou_hmean: float
    iou_precision: float
    iou_recall: float
    pages: int
    blank_pages: int
    skipped: tuple[str, ...]
    page_hmeans: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """The figures alone, by name."""
        return {name: float(getattr(self, name)) for name in METRICS}


def assemble(
    competition: CLEvalResult,
    official: CLEvalResult,
    overlap: IoUResult,
    *,
    pages: int,
    skipped: Sequence[str],
) -> Scores:
    """The scores of `pages` pages; JobError when one is not a finite number."""
    scores = Scores(
        hmean=competition.hmean,
        precision=competition.precision,
        recall=competition.recall,
        hmean_pooled=official.hmean,
        iou_hmean=overlap.hmean,
        iou_precision=overlap.precision,
        iou_recall=overlap.recall,
        pages=pages,
        blank_pages=competition.blank_pages,
        skipped=tuple(skipped),
        page_hmeans={name: float(row[2]) for name, row in competition.pages.items()},
    )
    if not np.isfinite(list(scores.metrics().values())).all():
        raise JobError(f"a score is not finite: {scores.metrics()}")
    return scores


@dataclass(frozen=True, eq=False)
class PageWords:
    """The words of a page as each metric reads them, for any number of detections."""

    competition: Words
    official: Words
    overlap: IoUWords

    @classmethod
    def read(cls, page: Page) -> PageWords:
        truth = [word.points for word in page.words]
        texts = [word.text for word in page.words]
        ignore = [word.ignore for word in page.words]
        return cls(
            read_words("competition", truth, texts, ignore),
            read_words("official", truth, texts, ignore),
            iou_words(truth, ignore),
        )

    def count(
        self, polygons: Sequence[ArrayLike] | Regions, active: ArrayLike | None = None
    ) -> tuple[list[PageCounts], list[PageCounts], list[IoUCounts]]:
        """What each metric counts for D detections, `(K, 2)` xy in pixels of the page, or their
        regions.

        One entry for each row of `active`, `(S, D)` bool, as if only those detections
        existed; None is one row of all.
        """
        regions = read_regions(polygons)
        return (
            self.competition.match(regions).counts(active),
            self.official.match(regions).counts(active),
            self.overlap.match(regions).counts(active),
        )


class Scoring:
    """Collects the detections of pages and scores them by every metric.

    Boxes are also matched at each IoU of `tighter`, whose scores `at_iou` gives. Raises InputError
    for one outside [0, 1).
    """

    def __init__(self, tighter: Sequence[float] = ()) -> None:
        self._competition = CLEval("competition", blank="skip")
        self._official = CLEval("official")
        self._overlap = IoU()
        self._tighter = [IoU(threshold) for threshold in tighter]
        self._pages = 0
        self._skipped: list[str] = []

    def add(self, page: Page, polygons: Sequence[ArrayLike]) -> None:
        """Count a page. Raises InputError for a name already added."""
        words, found = PageWords.read(page), read_regions(polygons)
        (competition,), (official,), (overlap,) = words.count(found)
        self._competition.add_counts(page.name, competition)
        self._official.add_counts(page.name, official)
        self._overlap.add_counts(page.name, overlap)
        for iou in self._tighter:
            (counts,) = words.overlap.match(found, iou.threshold).counts()
            iou.add_counts(page.name, counts)
        self._pages += 1

    def skip(self, reason: str) -> None:
        """Note a page that could not be read; it is left out of every score."""
        self._skipped.append(reason)

    def merge(self, other: Scoring) -> None:
        """Add what another collected at the same IoU. Raises InputError for a page of both."""
        self._competition.merge(other._competition)
        self._official.merge(other._official)
        self._overlap.merge(other._overlap)
        for own, others in zip(self._tighter, other._tighter, strict=True):
            own.merge(others)
        self._pages += other._pages
        self._skipped += other._skipped

    def at_iou(self) -> dict[float, IoUResult]:
        """The scores of whole boxes at each IoU of `tighter`, of all pages so far."""
        return {iou.threshold: iou.result() for iou in self._tighter}

    def result(self) -> Scores:
        """The scores of all pages so far.

        Raises JobError when there is none, naming those that were skipped, or when a score is
        not a finite number.
        """
        if not self._pages:
            raise JobError("\n".join(["no page of the split could be read:", *self._skipped[:5]]))
        return assemble(
            self._competition.result(),
            self._official.result(),
            self._overlap.result(),
            pages=self._pages,
            skipped=self._skipped,
        )
