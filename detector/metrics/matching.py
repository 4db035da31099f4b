"""CLEval on one page: which words and detections match, and the characters that makes.

Everything that concerns one pair of a word and a detection is found out once, for all
detections; the counts of any selection of them then follow by sums of whole numbers. The
outcome for a selection is exactly that of scoring only those detections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from detector.metrics.characters import (
    Dialect,
    count_characters,
    count_false_characters,
    pseudo_centres,
    reading_order,
)
from detector.metrics.counts import PageCounts, active_rows
from detector.metrics.overlap import meeting_pairs, points_inside, shared_areas
from detector.metrics.polygons import Indices, Points, Polygons, read_polygons
from detector.metrics.regions import Bools, Boxes, Regions, bounding_boxes, read_regions, to_regions

# Share of a detection's area that must lie on a word (section 3.2 of the paper).
AREA_PRECISION = 0.3
# Areas come from floating-point intersections; the reference compares in float32.
_LEAST = AREA_PRECISION - 1e-7
# Selections are counted together as long as they need no more numbers than this.
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a page that have an area (G), to be matched with any detections."""

    dialect: Dialect
    kept: Indices  # (G,) their places in the lists given
    ignored: Bools  # (G,)
    characters: Indices  # (G,)
    excluded: int  # words left out
    centres: Points  # (P, 2) xy of the pseudo-characters, word after word
    owner: Indices  # (P,) word of each centre
    _outlines: Polygons = field(repr=False)
    _regions: Regions = field(repr=False)
    _reach: Boxes = field(repr=False)  # detections outside have nothing to do with the word

    @cached_property
    def shapes(self) -> list[Points]:
        """The words `(K, 2)` xy, each from where reading starts."""
        return [self._outlines[i] for i in range(len(self._outlines))]

    def match(self, detections: Sequence[ArrayLike] | Regions) -> PageMatch:
        """Compare the words with D detections, polygons `(K, 2)` xy in pixels or their regions.

        Detections that describe no area are false positives of one character.
        """
        found = read_regions(detections, whole=self.dialect == "official")
        word, detection = meeting_pairs(self._reach, found.boxes)
        pair, centre = self._centres_inside(found, word, detection)
        held = np.bincount(pair, minlength=len(word))
        needed = (held > 0) | self.ignored[word]
        pair = (needed.cumsum() - 1)[pair]
        word, detection, held = word[needed], detection[needed], held[needed]
        share = shared_areas(self._regions, found, word, detection) / found.areas[detection]

        forgiven = _forgiven(share, held, self.ignored[word], detection, len(found))
        close = (share >= _LEAST) & (held > 0)
        counted = (held > 0) & ~self.ignored[word] & ~forgiven[detection]
        merges = np.bincount(detection[counted], minlength=len(found)) >= 2
        merges &= np.bincount(detection, share * counted, len(found)) >= _LEAST
        alone = np.bincount(detection[close], minlength=len(found)) == 1
        alone = counted & close & alone[detection]
        merges = counted & merges[detection]
        # Without a forgiven detection on its word, a close and lonely one matches in any case.
        doubtful = np.bincount(word[close & forgiven[detection]], minlength=len(self.kept)) > 0
        certain = merges | alone & ~doubtful[word]
        return PageMatch(
            words=self,
            forgiven=forgiven,
            false_characters=self._false(found, forgiven, detection[certain]),
            _word=word,
            _detection=detection,
            _held=held,
            _close=close,
            _counted=counted,
            _merges=merges,
            _alone=alone,
            _pair=pair,
            _centre=centre,
        )

    def _false(self, found: Regions, forgiven: Bools, certain: Indices) -> Indices:
        """`(D,)` characters each detection costs as a false positive, which some never are."""
        possible = ~forgiven
        possible[certain] = False
        solid = np.flatnonzero(possible & (found.areas > 0))
        false = possible.astype(np.intp)  # one without an area costs one character
        false[solid] = count_false_characters(self.dialect, found.polygons.take(solid))
        return false

    def _centres_inside(
        self, found: Regions, word: Indices, detection: Indices
    ) -> tuple[Indices, Indices]:
        """Pairs and centres of their words, for every centre inside the pair's detection."""
        counts = self.characters[word]
        first = self.characters.cumsum() - self.characters
        ends = counts.cumsum()
        pair = np.repeat(np.arange(len(word)), counts)
        centre = np.arange(len(pair)) + np.repeat(first[word] - (ends - counts), counts)
        inside = points_inside(self.centres[centre], found.polygons, detection[pair])
        return pair[inside], centre[inside]


@dataclass(frozen=True, eq=False)
class PageMatch:
    """Words and D detections compared; see `Words.match`.

    The private arrays describe pairs whose detection holds centres of the word, sorted by
    word, and each of these centres.
    """

    words: Words
    forgiven: Bools  # (D,) detections that lie on ignored words
    false_characters: Indices  # (D,) cost as a false positive; 0 for those never counted as one
    _word: Indices = field(repr=False)
    _detection: Indices = field(repr=False)
    _held: Indices = field(repr=False)  # centres of the word inside the detection
    _close: Bools = field(repr=False)  # with enough of the detection on the word
    _counted: Bools = field(repr=False)  # neither of the two is ignored
    _merges: Bools = field(repr=False)  # the detection covers several words together
    _alone: Bools = field(repr=False)  # the only word that the detection is close to
    _pair: Indices = field(repr=False)  # of each centre inside a detection
    _centre: Indices = field(repr=False)

    def counts(self, active: ArrayLike | None = None) -> list[PageCounts]:
        """One `PageCounts` for each row of `active`, as if only those detections existed.

        `active` is `(S, D)` bool, or None for one row of all detections. Raises InputError
        for another shape or type.
        """
        rows = active_rows(active, len(self.forgiven))
        widest = max(len(self._pair), len(self._word), len(self.forgiven), 1)
        size = max(1, _CHUNK // widest)
        return [c for i in range(0, len(rows), size) for c in self._count(rows[i : i + size])]

    def matched(self, active: ArrayLike | None = None) -> Bools:
        """`(G, D)` matches among the detections of `active`, `(D,)` bool or None for all."""
        table = np.zeros((len(self.words.kept), len(self.forgiven)), dtype=bool)
        match = self._matches(self._row(active))[0]
        table[self._word[match], self._detection[match]] = True
        return table

    def found(self, active: ArrayLike | None = None) -> Bools:
        """`(P,)` centres inside a detection matched with their word, of those in `active`."""
        credited = np.zeros(len(self.words.centres), dtype=bool)
        match = self._matches(self._row(active))[0]
        credited[self._centre[match[self._pair]]] = True
        return credited

    def _row(self, active: ArrayLike | None) -> Bools:
        row = None if active is None else np.asarray(active)[None]
        return active_rows(row, len(self.forgiven))

    def _matches(self, rows: Bools) -> Bools:
        """`(S, pairs)` matches: the union of one-to-one, one-to-many and many-to-one
        (section 3.2). Ignored words and detections do not match, but they still make a
        pair ambiguous, as in the reference."""
        word, count = self._word, len(self.words.kept)
        active = rows[:, self._detection]
        close = active & self._close
        only = _tally(close, word, count) == 1
        close &= self._counted
        splits = _tally(close, word, count) >= 2
        return active & self._merges | close & (splits[:, word] | only[:, word] & self._alone)

    def _count(self, rows: Bools) -> Iterator[PageCounts]:
        counted = ~self.words.ignored
        match = self._matches(rows)
        detections_of = _tally(match, self._word, len(counted))
        words_of = _tally(match, self._detection, len(self.forgiven))
        credited = _tally(match[:, self._pair], self._centre, len(self.words.centres)) > 0
        active = rows & ~self.forgiven
        false = (active & (words_of == 0)) @ self.false_characters
        columns = (
            credited.sum(axis=1),
            np.maximum(detections_of - 1, 0).sum(axis=1),
            match @ self._held + false,
            np.maximum(words_of - 1, 0).sum(axis=1),
            false,
            active.sum(axis=1),
            (rows & self.forgiven).sum(axis=1),
        )
        kept, truth = int(counted.sum()), int(self.words.characters[counted].sum())
        for row in zip(*(c.tolist() for c in columns), strict=True):
            found, split, detected, merged, wrong, detections, forgiven = row
            yield PageCounts(
                truth=truth,
                found=found,
                split=split,
                detected=detected,
                merged=merged,
                false=wrong,
                words=kept,
                ignored_words=len(counted) - kept,
                excluded_words=self.words.excluded,
                detections=detections,
                ignored_detections=forgiven,
            )


def _tally(table: Bools, keys: Indices, count: int) -> Indices:
    """`(S, count)` how many columns of `table` `(S, P)` are true for each of their keys."""
    row, column = np.nonzero(table)
    sums = np.bincount(row * count + keys[column], minlength=len(table) * count)
    return sums.reshape(len(table), count)


def _forgiven(
    share: Points, held: Indices, ignored: Bools, detection: Indices, count: int
) -> Bools:
    """`(D,)` detections that lie on ignored words, on one or on several together."""
    forgiven = np.bincount(detection, share * (ignored & (held > 0)), count) >= _LEAST
    forgiven[detection[ignored & (share >= _LEAST)]] = True
    return forgiven


def read_words(
    dialect: Dialect,
    truth: Sequence[ArrayLike],
    texts: Sequence[str | None],
    ignore: Sequence[bool],
) -> Words:
    """The words of a page, ready to be matched; the arguments are those of `CLEval.add`."""
    polygons = read_polygons(truth, whole=dialect == "official")
    regions = to_regions(polygons)
    kept = ((polygons.lengths >= 4) & (regions.areas > 0)).nonzero()[0]
    regions = regions.take(kept)
    ignored = np.array(ignore, dtype=bool)[kept]
    shapes = reading_order(dialect, regions.polygons)
    told = [None if ignore[i] else texts[i] for i in kept.tolist()]
    characters = count_characters(dialect, shapes, told)
    centres, owner = pseudo_centres(shapes, characters)
    if ignored.any():
        regions = _clear_ignored(regions, ignored)
    return Words(
        dialect=dialect,
        kept=kept,
        ignored=ignored,
        characters=characters,
        excluded=len(truth) - len(kept),
        centres=centres,
        owner=owner,
        _outlines=shapes,
        _regions=regions,
        _reach=_reach(regions, centres, characters, ignored),
    )


def _clear_ignored(regions: Regions, ignored: Bools) -> Regions:
    """The regions, those ignored less the words on them, so that these can still be found."""
    words, areas = (~ignored).nonzero()[0], ignored.nonzero()[0]
    hole, member = meeting_pairs(regions.boxes.take(words), regions.boxes.take(areas))
    hole, member = words[hole], areas[member]
    on = shared_areas(regions, regions, hole, member) > 0
    return regions.without(hole[on], member[on]) if on.any() else regions


def _reach(regions: Regions, centres: Points, characters: Indices, ignored: Bools) -> Boxes:
    """Boxes around the centres of the words that count, and around the ignored words."""
    low, high = bounding_boxes(centres, characters.cumsum() - characters, characters)
    if not ignored.any():
        return Boxes(low, high)
    return Boxes(
        np.where(ignored, np.minimum(low, regions.boxes.low), low),
        np.where(ignored, np.maximum(high, regions.boxes.high), high),
    )


def count_page(
    dialect: Dialect,
    truth: Sequence[ArrayLike],
    texts: Sequence[str | None],
    ignore: Sequence[bool],
    detections: Sequence[ArrayLike],
) -> PageCounts:
    """Counts of one page; the arguments are those of `CLEval.add`."""
    return read_words(dialect, truth, texts, ignore).match(detections).counts()[0]
