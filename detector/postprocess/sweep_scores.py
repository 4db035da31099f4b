"""What a post-processing sweep gives: the scores of every setting, and what choosing is worth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.metrics.cleval import PageCounts
from detector.metrics.iou import IoUCounts
from detector.metrics.scores import Scores


def second_half(pages: int) -> NDArray[np.bool_]:
    """`(pages,)`: which pages, in order of their names, are dealt to the second of two halves.

    From 32 pages on they are dealt in blocks of a fifth, of a tenth at either end, in turn; below,
    in fewer and so longer blocks. Photographs of one receipt have neighbouring names, so that
    near-duplicates stay in one half but where it changes, and each half has pages from all over
    the split, whose names often begin with where a page comes from. The halves differ by one page
    at most, and both have one from two pages on.
    """
    changes = 2 * min(pages // 16, 2) + 1  # odd, so that the halves are of one size
    return (2 * changes * np.arange(pages) + changes + pages - 1) // (2 * max(pages, 1)) % 2 == 1


@dataclass(frozen=True)
class CrossFit:
    """What a choice among settings is worth on pages that did not take part in it.

    Pages are dealt in two halves (`second_half`); the best setting of each is scored on the
    other. `hmean`, `precision` and `recall` are the means over all pages so scored,
    `page_hmeans` their H-means by name without those that are blank. `optimism` is how much
    higher the best setting looks on the very pages it was chosen on, `settings` are the choices
    of the second half and of the first.
    """

    hmean: float
    precision: float
    recall: float
    page_hmeans: dict[str, float]
    optimism: float
    settings: tuple[PostprocessConfig, PostprocessConfig]


@dataclass(frozen=True, eq=False)
class PageSweep:
    """The scores of S settings on one page: a column of `SweepScores`, and its share of the counts.

    page_scores: `(S, 3)`. official, overlap: `(S, F)`.
    """

    name: str
    page_scores: NDArray[np.float64]
    official: NDArray[np.int64]
    overlap: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SweepScores:
    """The scores of S settings on P pages.

    settings: the first is the one the grid was made around.
    names: `(P,)` page names, sorted.
    page_scores: `(S, P, 3)` float64 recall, precision and H-mean of the competition dialect;
        NaN where a page is blank (no word and no detection) and out of the mean.
    official, overlap: `(S, F)` counts summed over pages: the fields of PageCounts and IoUCounts.
    """

    settings: tuple[PostprocessConfig, ...]
    names: tuple[str, ...]
    page_scores: NDArray[np.float64]
    official: NDArray[np.int64]
    overlap: NDArray[np.int64]

    @classmethod
    def of(
        cls, settings: Sequence[PostprocessConfig], pages: Iterable[PageSweep]
    ) -> SweepScores | None:
        """The scores of single pages as those of all, whatever their order; None without any.

        Raises InputError when a page comes twice.
        """
        parts = sorted(pages, key=attrgetter("name"))
        if not parts:
            return None
        names = tuple(part.name for part in parts)
        for one, next_one in itertools.pairwise(names):
            if one == next_one:
                raise InputError(f"{one}: is there twice; a page is scored once")
        return cls(
            tuple(settings),
            names,
            np.stack([part.page_scores for part in parts], axis=1),
            np.sum([part.official for part in parts], axis=0),
            np.sum([part.overlap for part in parts], axis=0),
        )

    def scores(self, index: int) -> Scores:
        """What `evaluate` gives at setting `index`."""
        recall, precision, hmean, page_hmeans = self._means(self.page_scores[index])
        pooled = PageCounts(*self.official[index].tolist()).scores()
        iou_recall, iou_precision, iou_hmean = IoUCounts(*self.overlap[index].tolist()).scores()
        return Scores(
            hmean=hmean,
            precision=precision,
            recall=recall,
            hmean_pooled=pooled[2],
            iou_hmean=iou_hmean,
            iou_precision=iou_precision,
            iou_recall=iou_recall,
            pages=len(self.names),
            blank_pages=len(self.names) - len(page_hmeans),
            skipped=(),
            page_hmeans=page_hmeans,
        )

    def best(self) -> int:
        """The setting with the highest H-mean; then by IoU H-mean, then the first."""
        hmeans = self._hmeans(np.ones(len(self.names), bool))
        tied = np.flatnonzero(hmeans == hmeans.max()).tolist()
        return int(max(tied, key=lambda i: (self.scores(i).iou_hmean, -i)))

    def cross_fit(self) -> CrossFit | None:
        """The best setting of each half of the pages scored on the other; None below 2 pages."""
        if len(self.names) < 2:
            return None
        second = second_half(len(self.names))
        choices = [int(self._hmeans(half).argmax()) for half in (second, ~second)]
        of_second, of_first = (self.page_scores[choice] for choice in choices)
        unseen = np.where(second[:, None], of_first, of_second)
        recall, precision, hmean, page_hmeans = self._means(unseen)
        if not page_hmeans:
            return None
        return CrossFit(
            hmean=hmean,
            precision=precision,
            recall=recall,
            page_hmeans=page_hmeans,
            optimism=self.scores(self.best()).hmean - hmean,
            settings=(self.settings[choices[0]], self.settings[choices[1]]),
        )

    def along(self, key: str, *, around: int) -> list[int]:
        """Settings that differ from setting `around` in `key` at most, in order of its value."""
        dumps = [setting.model_dump() for setting in self.settings]
        rest = {k: v for k, v in dumps[around].items() if k != key}
        found = [i for i, dump in enumerate(dumps) if rest.items() <= dump.items()]
        return sorted(found, key=lambda i: dumps[i][key])

    def tuned(self) -> dict[str, Any]:
        """The best setting's values of whatever differs among the settings."""
        every = [setting.model_dump() for setting in self.settings]
        best = every[self.best()]
        return {
            key: value
            for key, value in best.items()
            if any(setting[key] != value for setting in every)
        }

    def _means(self, table: NDArray[np.float64]) -> tuple[float, float, float, dict[str, float]]:
        """Mean recall, precision and H-mean of `(P, 3)` page scores, and the H-means by page.

        Blank pages are left out of both.
        """
        counted = ~np.isnan(table[:, 2])
        recall, precision, hmean = (_mean(column) for column in table[counted].T)
        shown = zip(self.names, table[:, 2].tolist(), counted.tolist(), strict=True)
        return recall, precision, hmean, {name: value for name, value, kept in shown if kept}

    def _hmeans(self, pages: NDArray[np.bool_]) -> NDArray[np.float64]:
        """`(S,)` mean H-mean over some pages."""
        chosen = self.page_scores[:, pages, 2]
        return np.array([_mean(row[~np.isnan(row)]) for row in chosen])


def _mean(values: NDArray[np.float64]) -> float:
    """Exactly rounded, so that the order of pages never matters; 0 without any."""
    return math.fsum(values.tolist()) / len(values) if len(values) else 0.0
