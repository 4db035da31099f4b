"""The figures of an evaluation, under the names that every command and file uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.errors import JobError
from detector.metrics.cleval import CLEvalResult
from detector.metrics.iou import IoUResult

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
