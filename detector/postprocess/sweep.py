"""Every post-processing setting scored from one set of probability maps, exactly.

Settings that share a binary map share its regions and their scores; those that also share the
growth share the polygons and everything the metrics ask about pairs of shapes. What is left,
`box_thresh`, `max_candidates` and `min_side_px`, only chooses among the regions found, and a
metric counts every choice from the same pairs. Each figure equals that of a full evaluation at
its setting, bit for bit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from detector.config.sections import describe_faults
from detector.config.settings import PostprocessConfig, SweepConfig
from detector.core.errors import InputError, JobError
from detector.data.labels.pages import Page
from detector.metrics.cleval import PageCounts
from detector.metrics.iou import IoUCounts
from detector.metrics.scores import PageWords
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import candidate_count, find_candidates, grow
from detector.postprocess.sweep_scores import PageSweep, SweepScores, is_number

# What a training tries after each validation: two growths, and every box_thresh of interest.
QUICK_GRID: dict[str, tuple[Any, ...]] = SweepConfig().tried()

FIND_KEYS = ("thresh", "score_mode", "dilate", "epsilon")
GROW_KEYS = ("shape", "unclip", "unclip_ratio", "shrink_ratio", "epsilon", "dilate")

_CLEVAL_FIELDS = tuple(f.name for f in fields(PageCounts))
_IOU_FIELDS = tuple(f.name for f in fields(IoUCounts))
_cleval_values, _iou_values = attrgetter(*_CLEVAL_FIELDS), attrgetter(*_IOU_FIELDS)


def grid(
    base: PostprocessConfig, values: Mapping[str, Sequence[Any]]
) -> tuple[PostprocessConfig, ...]:
    """`base`, then every combination of `values`; a setting comes once.

    Raises InputError for an unknown key or a value out of range, naming them.
    """
    settings, given = {_key(base): base}, base.model_dump()
    for combination in itertools.product(*values.values()):
        changed = given | dict(zip(values, combination, strict=True))
        try:
            setting = PostprocessConfig.model_validate(changed)
        except ValidationError as error:
            lines = describe_faults(error, PostprocessConfig)
            raise InputError("\n".join(f"grid.{line}" for line in lines)) from None
        settings.setdefault(_key(setting), setting)
    return tuple(settings.values())


def _key(setting: PostprocessConfig) -> tuple[Any, ...]:
    return tuple(setting.model_dump().values())


def distinct(settings: Iterable[PostprocessConfig]) -> tuple[PostprocessConfig, ...]:
    """The settings in their order, each once."""
    return tuple({_key(setting): setting for setting in settings}.values())


def others(
    settings: Iterable[PostprocessConfig], known: Iterable[PostprocessConfig]
) -> tuple[PostprocessConfig, ...]:
    """Those of `settings` that are not among the known ones."""
    keys = {_key(setting) for setting in known}
    return tuple(setting for setting in settings if _key(setting) not in keys)


def sweep(
    maps: Iterable[PageMap],
    pages: Iterable[Page],
    settings: Sequence[PostprocessConfig],
) -> SweepScores:
    """Score every setting on every map; `pages` hold the words, found by name.

    Raises InputError without settings and for a map without a page, JobError without maps.
    """
    if not settings:
        raise InputError("settings: nothing to score, got an empty grid")
    words = {page.name: page for page in pages}
    score = PageSweeper(settings)
    parts = []
    for page_map in maps:
        if page_map.name not in words:
            raise InputError(f"{page_map.name}: there is a map of this page but no annotation")
        parts.append(score(page_map, words[page_map.name]))
    swept = SweepScores.of(settings, parts)
    if swept is None:
        raise JobError("there is no probability map to score post-processing settings on")
    return swept


class PageSweeper:
    """Scores one page after the other at the same settings."""

    def __init__(self, settings: Sequence[PostprocessConfig]) -> None:
        self._count = len(settings)
        self._groups = list(_groups(settings))

    def __call__(self, page_map: PageMap, page: Page) -> PageSweep:
        """The scores of a page at every setting, from its map."""
        words = PageWords.read(page)
        table = np.zeros((self._count, 3))
        official = np.zeros((self._count, len(_CLEVAL_FIELDS)), np.int64)
        overlap = np.zeros((self._count, len(_IOU_FIELDS)), np.int32)
        for scored in _score_page(page_map, words, self._groups):
            table[scored.settings] = scored.competition
            official[scored.settings] = scored.official
            overlap[scored.settings] = scored.overlap
        return PageSweep(page_map.name, table, official, overlap)


def around(
    base: PostprocessConfig, tried: Mapping[str, Sequence[Any]], *, every: bool = False
) -> tuple[PostprocessConfig, ...]:
    """`grid`, without what is not worth its time.

    That is settings that differ only in an `unclip_ratio` that they do not use; and polygons grown
    by a ratio where exact growth is tried and quads are too: what undoes the shrink fits outlines
    of a trained detector best, and polygons are dear to score. With `every` they are there too.
    """
    unused = {"unclip_ratio": base.unclip_ratio}
    both = {"ratio", "exact"} <= {*tried.get("unclip", ())} and "quad" in tried.get("shape", ())
    pruned = both and not every
    settings = (
        s if s.unclip == "ratio" else s.model_copy(update=unused)
        for s in grid(base, tried)
        if not (pruned and s.shape == "polygon" and s.unclip == "ratio")
    )
    return distinct((base, *settings))


def quick_figures(swept: SweepScores) -> dict[str, float]:
    """What a sweep gives: the H-mean at the chosen settings, those of them that are numbers, and
    the cross-fitted H-mean (absent with a single page)."""
    fitted = swept.cross_fit()
    figures = {"tuned_hmean": swept.scores(swept.best()).hmean}
    figures |= {
        f"tuned_{key}": float(value) for key, value in swept.tuned().items() if is_number(value)
    }
    return figures if fitted is None else figures | {"crossfit_hmean": fitted.hmean}


@dataclass(frozen=True, eq=False)
class _Group:
    """Settings that share a binary map (`find`) or, in `members`, the grown shapes too."""

    find: dict[str, Any]
    members: list[tuple[dict[str, Any], NDArray[np.intp], list[PostprocessConfig]]]


def _groups(settings: Sequence[PostprocessConfig]) -> Iterator[_Group]:
    for find, found in _by(settings, range(len(settings)), FIND_KEYS):
        members = [
            (growth, np.array(indices, np.intp), [settings[i] for i in indices])
            for growth, indices in _by(settings, found, GROW_KEYS)
        ]
        yield _Group(find, members)


def _by(
    settings: Sequence[PostprocessConfig], indices: Iterable[int], keys: Sequence[str]
) -> list[tuple[dict[str, Any], list[int]]]:
    """`indices` of settings grouped by their values of `keys`."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index in indices:
        groups.setdefault(tuple(getattr(settings[index], k) for k in keys), []).append(index)
    return [(dict(zip(keys, values, strict=True)), group) for values, group in groups.items()]


@dataclass(frozen=True, eq=False)
class _Scored:
    """One page at the settings of one group: `(K, 3)` scores and `(K, F)` counts."""

    settings: NDArray[np.intp]
    competition: NDArray[np.float64]
    official: NDArray[np.int64]
    overlap: NDArray[np.int32]


def _score_page(page_map: PageMap, words: PageWords, groups: Sequence[_Group]) -> Iterator[_Scored]:
    for group in groups:
        candidates = find_candidates(page_map.probability, **group.find)
        counts = [_kept(candidates.scores, settings) for _, _, settings in group.members]
        candidates = candidates.first(max(max(kept) for kept in counts))
        for (growth, indices, settings), kept in zip(group.members, counts, strict=True):
            best = candidates if max(kept) == len(candidates) else candidates.first(max(kept))
            grown = grow(
                best,
                **growth,
                affine=page_map.affine,
                size=page_map.size,
                flattening=page_map.flattening,
            )
            rank = np.arange(len(grown.polygons))
            active = (rank < np.array(kept)[:, None]) & grown.solid
            active &= grown.sides >= np.array([s.min_side_px for s in settings])[:, None]
            yield _count(words, grown.polygons, active, indices)


def _kept(scores: NDArray[np.float32], settings: Sequence[PostprocessConfig]) -> list[int]:
    """How many candidates each setting keeps: the best ones."""
    return [
        candidate_count(scores, box_thresh=s.box_thresh, max_candidates=s.max_candidates)
        for s in settings
    ]


def _count(
    words: PageWords,
    polygons: Sequence[NDArray[np.float32]],
    active: NDArray[np.bool_],
    indices: NDArray[np.intp],
) -> _Scored:
    """Every metric for each row of `active`, computed once per different row."""
    used = np.flatnonzero(active.any(axis=0))
    shapes = [polygons[i] for i in used.tolist()]
    rows, which = _distinct(active[:, used])
    competition, official, overlap = words.count(shapes, rows)
    blank = (math.nan,) * 3
    scores = [blank if not c.words and not c.detections else c.scores() for c in competition]
    return _Scored(
        indices,
        np.array(scores)[which],
        np.array([_cleval_values(c) for c in official], np.int64)[which],
        np.array([_iou_values(c) for c in overlap], np.int32)[which],
    )


def _distinct(rows: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """The different rows, and which of them each row is."""
    places: dict[bytes, int] = {}
    which = np.array([places.setdefault(row.tobytes(), len(places)) for row in rows], np.intp)
    first = np.unique(which, return_index=True)[1]
    return rows[first], which
