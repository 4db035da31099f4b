"""What a post-processing sweep gives: the scores of every setting, and what choosing is worth.

Chosen is the setting with the highest IoU H-mean among those that the pages cannot tell from the
one with the highest H-mean: those within one paired standard error of it, and at most 0.005 below.
CLEval asks which characters lie in a box and hardly sees how tight it is, so that many settings are
alike to it while their boxes fit very differently. Breiman et al. (Classification and Regression
Trees, 1984) choose the simplest of equal models by one standard error too; here it is that of the
differences page by page, since a hard page is hard at every setting. On few pages, or unlike ones,
that error is large: what cannot be told apart there may still be much worse, hence the limit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.metrics.cleval import PageCounts
from detector.metrics.iou import IoUCounts
from detector.metrics.scores import Scores

MOST_GIVEN = 0.005  # mean H-mean that tighter boxes may cost


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

    Pages are dealt in two halves (`second_half`); each chooses a setting as all pages do, from
    its own scores, which is scored on the other. `hmean`, `precision` and `recall` are the means
    over all pages so scored, `page_hmeans` their H-means by name without those that are blank.
    `optimism` is how much higher the choice of all pages looks on those very pages, `settings` are
    the choices of the second half and of the first.
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

    page_scores: `(S, 3)`. official: `(S, F)`. overlap: `(S, F)` int32.
    """

    name: str
    page_scores: NDArray[np.float64]
    official: NDArray[np.int64]
    overlap: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SweepScores:
    """The scores of S settings on P pages.

    settings: the first is the one the grid was made around.
    names: `(P,)` page names, sorted.
    page_scores: `(S, P, 3)` float64 recall, precision and H-mean of the competition dialect;
        NaN where a page is blank (no word and no detection) and out of the mean.
    official: `(S, F)` counts summed over pages, the fields of PageCounts.
    overlap: `(S, P, F)` int32 counts, the fields of IoUCounts.
    """

    settings: tuple[PostprocessConfig, ...]
    names: tuple[str, ...]
    page_scores: NDArray[np.float64]
    official: NDArray[np.int64]
    overlap: NDArray[np.int32]

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
            np.stack([part.overlap for part in parts], axis=1),
        )

    def scores(self, index: int) -> Scores:
        """What `evaluate` gives at setting `index`."""
        recall, precision, hmean, page_hmeans = self._means(self.page_scores[index])
        pooled = PageCounts(*self.official[index].tolist()).scores()
        iou = IoUCounts(*self.overlap[index].sum(axis=0).tolist()).scores()
        iou_recall, iou_precision, iou_hmean = iou
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

    @cached_property
    def highest(self) -> float:
        """The highest H-mean of all settings."""
        return float(self._hmeans(np.ones(len(self.names), bool)).max())

    def best(self) -> int:
        """The setting that is chosen, whose H-mean may be a little below the highest."""
        return self._best

    @cached_property
    def _best(self) -> int:
        return self._choice(np.ones(len(self.names), bool))

    def cross_fit(self) -> CrossFit | None:
        """The choice of each half of the pages scored on the other; None below 2 pages."""
        return self._fitted

    @cached_property
    def _fitted(self) -> CrossFit | None:
        if len(self.names) < 2:
            return None
        second = second_half(len(self.names))
        choices = [self._choice(half) for half in (second, ~second)]
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

    def joined(self, other: SweepScores) -> SweepScores:
        """The scores of both on the same pages; the settings of `other` are further ones."""
        assert self.names == other.names
        return SweepScores(
            (*self.settings, *other.settings),
            self.names,
            np.concatenate([self.page_scores, other.page_scores]),
            np.concatenate([self.official, other.official]),
            np.concatenate([self.overlap, other.overlap]),
        )

    def along(self, key: str, *, around: int) -> list[int]:
        """Settings by their value of `key`, in its order: those that differ from setting `around`
        in no other, where it is a number; else the best of each value, `around` for its own.

        A sweep does not try every growth with every shape, so a shape seldom differs alone.
        """
        dumps = [setting.model_dump() for setting in self.settings]
        if is_number(dumps[around][key]):
            rest = {k: v for k, v in dumps[around].items() if k != key}
            found = [i for i, dump in enumerate(dumps) if rest.items() <= dump.items()]
        else:
            hmeans = self._hmeans(np.ones(len(self.names), bool))
            best: dict[Any, int] = {}
            for i in np.argsort(-hmeans, kind="stable").tolist():
                best.setdefault(dumps[i][key], i)
            found = list((best | {dumps[around][key]: around}).values())
        return sorted(found, key=lambda i: dumps[i][key])

    def tuned(self) -> dict[str, Any]:
        """The chosen setting's values of whatever differs among the settings."""
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

    def _choice(self, pages: NDArray[np.bool_]) -> int:
        """The setting with the highest IoU H-mean among those that some pages cannot tell from the
        one with the highest H-mean; then the one with the higher H-mean, then the first."""
        hmeans, ious = self._hmeans(pages), self._iou_hmeans(pages)
        alike = np.flatnonzero(self._alike(int(hmeans.argmax()), pages) | (hmeans == hmeans.max()))
        return int(max(alike.tolist(), key=lambda i: (ious[i], hmeans[i], -i)))

    def _alike(self, best: int, pages: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`(S,)`: which settings are within one paired standard error of setting `best`, or within
        `MOST_GIVEN` where that is less.

        A page that is blank at both is out; where one alone found nothing on a page without words,
        it is all right there. None is alike where fewer than two pages are left.
        """
        table = self.page_scores[:, pages, 2]
        blank = np.isnan(table)
        values = np.where(blank, 1.0, table)
        counted = ~(blank & blank[best])
        lost = np.where(counted, values[best] - values, 0.0)
        count = np.maximum(counted.sum(axis=1), 1)
        mean = lost.sum(axis=1) / count
        squares = (np.where(counted, lost - mean[:, None], 0.0) ** 2).sum(axis=1)
        error = np.sqrt(squares / np.maximum(count - 1, 1) / count)
        return (mean <= np.minimum(error, MOST_GIVEN)) & (count > 1)

    def _hmeans(self, pages: NDArray[np.bool_]) -> NDArray[np.float64]:
        """`(S,)` mean H-mean over some pages."""
        chosen = self.page_scores[:, pages, 2]
        return np.array([_mean(row[~np.isnan(row)]) for row in chosen])

    def _iou_hmeans(self, pages: NDArray[np.bool_]) -> list[float]:
        """IoU H-mean of each setting over some pages."""
        counts = self.overlap[:, pages].sum(axis=1).tolist()
        return [IoUCounts(*row).scores()[2] for row in counts]


def _mean(values: NDArray[np.float64]) -> float:
    """Exactly rounded, so that the order of pages never matters; 0 without any."""
    return math.fsum(values.tolist()) / len(values) if len(values) else 0.0


def is_number(value: Any) -> bool:
    """Whether a setting's value has an order and a distance to others."""
    return isinstance(value, int | float) and not isinstance(value, bool)
