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
from typing import get_args

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from detector.errors import InputError
from detector.geometry import canonical_order
from detector.metrics.characters import (
    Dialect,
    count_characters,
    count_false_characters,
    pseudo_centres,
    reading_start,
    shortest_rungs,
)
from detector.metrics.regions import (
    as_points,
    overlap_areas,
    points_inside,
    to_regions,
)

Points = NDArray[np.float64]

# Share of a detection's area that must lie on a word (section 3.2 of the paper).
AREA_PRECISION = 0.3
# Areas come from floating-point intersections; the reference compares in float32.
_AREA_SLACK = 1e-7


@dataclass(frozen=True)
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
        mine, theirs = vars(self), vars(other)
        return PageCounts(**{key: mine[key] + theirs[key] for key in mine})

    def scores(self) -> tuple[float, float, float]:
        """Recall, precision and their harmonic mean; 0 where there is nothing to count."""
        recall = max(0, self.found - self.split) / self.truth if self.truth else 0.0
        precision = max(0, self.found - self.merged) / self.detected if self.detected else 0.0
        total = recall + precision
        return recall, precision, 2 * recall * precision / total if total else 0.0


@dataclass(frozen=True)
class CLEvalResult:
    """Scores in [0, 1]: of the summed counts (official) or means over pages (competition).

    `pages` maps a page to its (recall, precision, hmean) in the order of names. Like the
    contest's, the competition means count a page without words as 0, also when nothing
    was detected on it; `blank_pages` says how many such pages without either there are.
    """

    recall: float
    precision: float
    hmean: float
    pages: dict[str, tuple[float, float, float]]
    counts: PageCounts
    blank_pages: int


class CLEval:
    """Collects pages, in any order and any number of collectors, and scores them.

    Raises InputError for an unknown dialect.
    """

    def __init__(self, dialect: Dialect) -> None:
        if dialect not in get_args(Dialect):
            raise InputError(
                f"dialect: must be one of {', '.join(get_args(Dialect))}, got {dialect!r}"
            )
        self.dialect: Dialect = dialect
        self._pages: dict[str, PageCounts] = {}

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
        if name in self._pages:
            raise InputError(f"{name}: scored already; every page counts once")
        if not len(truth) == len(texts) == len(ignore):
            raise InputError(
                f"{name}: {len(truth)} words, {len(texts)} texts and {len(ignore)} ignore "
                "flags; there must be as many of each"
            )
        self._pages[name] = count_page(self.dialect, truth, texts, ignore, detections)

    def merge(self, other: CLEval) -> None:
        """Take over another collector's pages: the same as having added them all here.

        Raises InputError when the dialects differ or a page is in both.
        """
        if other.dialect != self.dialect:
            raise InputError(f"cannot merge {other.dialect} counts into {self.dialect} ones")
        if twice := sorted(self._pages.keys() & other._pages.keys()):
            raise InputError(f"{twice[0]}: scored in both; every page counts once")
        self._pages.update(other._pages)

    def result(self) -> CLEvalResult:
        """The scores of all pages so far; 0 without any."""
        counts = [self._pages[name] for name in sorted(self._pages)]
        total = sum(counts, PageCounts())
        pages = {name: self._pages[name].scores() for name in sorted(self._pages)}
        if self.dialect == "official" or not pages:
            recall, precision, hmean = total.scores()
        else:
            # fsum: the same figure in whatever order pages came
            recall, precision, hmean = (
                math.fsum(column) / len(pages) for column in zip(*pages.values(), strict=True)
            )
        blank = sum(not c.words and not c.detections for c in counts)
        return CLEvalResult(recall, precision, hmean, pages, total, blank)


def count_page(
    dialect: Dialect,
    truth: Sequence[ArrayLike],
    texts: Sequence[str | None],
    ignore: Sequence[bool],
    detections: Sequence[ArrayLike],
) -> PageCounts:
    """Counts of one page; the arguments are those of `CLEval.add`."""
    words = _words(dialect, truth, texts, ignore)
    found = [_read(dialect, p) for p in detections]
    found_regions = to_regions(found)
    shares = _area_precision(words.regions, found_regions)
    centres, owner = pseudo_centres(words.shapes, words.characters)
    centre, holder = points_inside(centres, found)
    held = np.zeros(shares.shape, dtype=np.intp)
    np.add.at(held, (owner[centre], holder), 1)

    forgiven = _forgiven(shares, held, words.ignored)
    match = _match(shares, held, ~words.ignored, ~forgiven)
    credited = centre[match[owner[centre], holder]]
    unmatched = ~forgiven & ~match.any(axis=0)
    false = sum(
        count_false_characters(dialect, found[i]) if solid else 1
        for i, solid in enumerate(shapely.area(found_regions) > 0)
        if unmatched[i]
    )
    return PageCounts(
        truth=int(words.characters[~words.ignored].sum()),
        found=len(np.unique(credited)),
        split=int(np.maximum(match.sum(axis=1) - 1, 0).sum()),
        detected=len(credited) + false,
        merged=int(np.maximum(match.sum(axis=0) - 1, 0).sum()),
        false=false,
        words=int((~words.ignored).sum()),
        ignored_words=int(words.ignored.sum()),
        excluded_words=len(truth) - len(words.shapes),
        detections=int((~forgiven).sum()),
        ignored_detections=int(forgiven.sum()),
    )


@dataclass(frozen=True, eq=False)
class _Words:
    """The words of a page that have an area, all in the same order."""

    shapes: list[Points]  # (K, 2) from where reading starts
    regions: NDArray[np.object_]
    characters: NDArray[np.intp]
    ignored: NDArray[np.bool_]


def _words(
    dialect: Dialect,
    truth: Sequence[ArrayLike],
    texts: Sequence[str | None],
    ignore: Sequence[bool],
) -> _Words:
    shapes = [_read(dialect, p) for p in truth]
    regions = to_regions(shapes)
    cornered = np.array([len(p) >= 4 for p in shapes], dtype=bool)
    kept = np.flatnonzero(cornered & (shapely.area(regions) > 0)).tolist()
    ignored = np.array([ignore[i] for i in kept], dtype=bool)
    shapes = [_oriented(dialect, shapes[i]) for i in kept]
    characters = [
        count_characters(dialect, shape, None if ignore[i] else texts[i])
        for i, shape in zip(kept, shapes, strict=True)
    ]
    return _Words(
        shapes=shapes,
        regions=_without_words(regions[kept], ignored),
        characters=np.array(characters, dtype=np.intp),
        ignored=ignored,
    )


def _read(dialect: Dialect, polygon: ArrayLike) -> Points:
    """Points as the dialect reads them; the official tool's files hold whole pixels."""
    points = as_points(polygon)
    return np.rint(points) if dialect == "official" else points


def _oriented(dialect: Dialect, points: Points) -> Points:
    if dialect == "competition":
        points = shortest_rungs(canonical_order(points).astype(np.float64))
    return reading_start(points)


def _without_words(regions: NDArray[np.object_], ignored: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Ignored regions less the words on them, so that those words can still be found."""
    if not ignored.any() or ignored.all():
        return regions
    words = regions[~ignored]
    near = np.unique(shapely.STRtree(words).query(regions[ignored])[1])
    regions = regions.copy()
    regions[ignored] = shapely.difference(regions[ignored], shapely.union_all(words[near]))
    return regions


def _area_precision(
    words: NDArray[np.object_], detections: NDArray[np.object_]
) -> NDArray[np.float64]:
    """`(G, D)` share of each detection's area that lies on each word."""
    areas = shapely.area(detections)
    shared = overlap_areas(words, detections)
    return np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)


def _forgiven(
    shares: NDArray[np.float64], held: NDArray[np.intp], ignored: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """`(D,)` detections that lie on ignored words, on one or on several together."""
    least = AREA_PRECISION - _AREA_SLACK
    shares, held = shares[ignored], held[ignored]
    return (shares >= least).any(axis=0) | ((shares * (held > 0)).sum(axis=0) >= least)


def _match(
    shares: NDArray[np.float64],
    held: NDArray[np.intp],
    words: NDArray[np.bool_],
    detections: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """`(G, D)` matches: the union of one-to-one, one-to-many and many-to-one (section 3.2).

    `words` and `detections` mark those that count; the ignored ones still make a pair
    ambiguous, as in the reference.
    """
    least = AREA_PRECISION - _AREA_SLACK
    counts = words[:, None] & detections[None]
    close = (shares >= least) & (held > 0)
    alone = (close.sum(axis=1) == 1)[:, None] & (close.sum(axis=0) == 1)[None]
    close &= counts
    touching = (held > 0) & counts
    splits = (close.sum(axis=1) >= 2)[:, None]
    merges = (touching.sum(axis=0) >= 2) & ((shares * touching).sum(axis=0) >= least)
    return (close & alone) | (close & splits) | (touching & merges[None])
