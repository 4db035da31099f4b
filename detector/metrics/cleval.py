"""CLEval (arXiv:2006.06244): text detection scored by characters, in two dialects.

A word of n characters has n centres along its middle line. A detection finds the centres
inside it, provided that the word covers enough of it, and pays one character for every
further word it merges; a word pays one for every further detection it is split into.

`official`: the published tool. Characters are those of the transcription, quads keep their
vertex order and are rounded to whole pixels, and counts are summed over all pages.
`competition`: the receipt contest's variant. Every shape is a polygon without text, its
characters follow from its aspect ratio, and the scores are means over pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from numpy.typing import ArrayLike

from detector.core.errors import InputError
from detector.metrics.characters import Dialect
from detector.metrics.counts import Collector, PageCounts
from detector.metrics.matching import PageMatch, Words, count_page, read_words

Blank = Literal["zero", "skip"]

__all__ = [
    "Blank",
    "CLEval",
    "CLEvalResult",
    "Dialect",
    "PageCounts",
    "PageMatch",
    "Words",
    "count_page",
    "read_words",
]


@dataclass(frozen=True)
class CLEvalResult:
    """Scores in [0, 1]: of the summed counts (official) or means over pages (competition).

    `pages` maps a page to its (recall, precision, hmean) in the order of names. Pages with
    neither words nor detections that count are `blank_pages`; where they are skipped, they
    are missing from `pages` and from the means. `counts` sums up every page.
    """

    recall: float
    precision: float
    hmean: float
    pages: dict[str, tuple[float, float, float]]
    counts: PageCounts
    blank_pages: int


class CLEval(Collector[PageCounts]):
    """Collects pages, in any order and any number of collectors, and scores them.

    `blank` is what a page without words and detections that count is worth in the means of
    the competition dialect: 0 like in the contest ("zero"), or it is left out ("skip").
    Raises InputError for an unknown dialect or `blank`.
    """

    def __init__(self, dialect: Dialect, *, blank: Blank = "zero") -> None:
        super().__init__()
        for name, value, known in (("dialect", dialect, Dialect), ("blank", blank, Blank)):
            if value not in get_args(known):
                raise InputError(
                    f"{name}: must be one of {', '.join(get_args(known))}, got {value!r}"
                )
        self.dialect: Dialect = dialect
        self.blank: Blank = blank

    def add(
        self,
        name: str,
        truth: Sequence[ArrayLike],
        texts: Sequence[str | None],
        ignore: Sequence[bool],
        detections: Sequence[ArrayLike],
    ) -> None:
        """Count one page. Polygons are `(K, 2)` xy in the page's pixels.

        Words (`truth`, `texts` and `ignore` run in parallel) that are ignored cost nothing
        and forgive the detections on them. Words whose outline describes no area (fewer
        than four points, no surface, not finite) are left out and counted; such detections
        are false positives of one character. Raises InputError for a name already added
        and for lists of different lengths.
        """
        self._check_new(name)
        if not len(truth) == len(texts) == len(ignore):
            raise InputError(
                f"{name}: {len(truth)} words, {len(texts)} texts and {len(ignore)} ignore "
                "flags; there must be as many of each"
            )
        self._pages[name] = count_page(self.dialect, truth, texts, ignore, detections)

    def merge(self, other: CLEval) -> None:
        """Take over another collector's pages: the same as having added them all here.

        Raises InputError when the dialects or `blank` differ or a page is in both.
        """
        if other.dialect != self.dialect:
            raise InputError(f"cannot merge {other.dialect} counts into {self.dialect} ones")
        if other.blank != self.blank:
            raise InputError(f"cannot merge blank={other.blank} into blank={self.blank}")
        self._take_over(other)

    def result(self) -> CLEvalResult:
        """The scores of all pages so far; 0 without any."""
        total = sum(self._pages.values(), PageCounts())
        blank = {n for n, c in self._pages.items() if not c.words and not c.detections}
        left_out = blank if self.blank == "skip" else set()
        names = sorted(self._pages.keys() - left_out)
        pages = {name: self._pages[name].scores() for name in names}
        if self.dialect == "official" or not pages:
            recall, precision, hmean = total.scores()
        else:
            # fsum: the same figure in whatever order pages came
            recall, precision, hmean = (
                math.fsum(column) / len(pages) for column in zip(*pages.values(), strict=True)
            )
        return CLEvalResult(recall, precision, hmean, pages, total, len(blank))
