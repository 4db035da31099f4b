"""A sweep from coarse to fine, from maps that are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detector.config.settings import PostprocessConfig
from detector.data.labels.pages import Page
from detector.postprocess.edges import LADDERS, edges, finer, further, told
from detector.postprocess.maps import PageMap
from detector.postprocess.sweep import around, key_of, sweep
from detector.postprocess.sweep_scores import SweepScores

_GROWTH = ("shape", "unclip", "unclip_ratio", "box_thresh")
_FINER = 2  # times that the distance to the neighbours of the best is halved


@dataclass(frozen=True, eq=False)
class Rounds:
    """A sweep made in rounds.

    swept: the scores at every setting of all rounds.
    extended: the values beyond those given, by name, that were tried since the best lay at an end.
    edges: the chosen values that still are the first or last tried, by name.
    """

    swept: SweepScores
    extended: dict[str, list[float]]
    edges: dict[str, float]


def sweep_in_rounds(
    maps: Iterable[PageMap],
    pages: Sequence[Page],
    base: PostprocessConfig,
    tried: Mapping[str, Sequence[Any]],
    *,
    own: Collection[str],
    log: Callable[[str], None],
) -> Rounds:
    """Score the settings of `around(base, tried)`, then others beside, beyond and between them.

    Beside are every shape and growth tried at the best thresh. A value that is the best at an end
    of its list is followed until one further on is no better, or its ladder ends
    (`detector.postprocess.edges`); then what lies between the best and its neighbours is tried.
    These two for the settings in `own` alone. `maps` are read once a round.

    Raises InputError and JobError as `sweep` does.
    """
    swept = _scored(maps, pages, None, around(base, tried), log)
    beside = {key: values for key, values in tried.items() if key in _GROWTH}
    swept = _scored(maps, pages, swept, around(_chosen(swept), beside, every=True), log)
    for _ in range(_FINER):
        swept = _followed(maps, pages, swept, tried, own, log)
        between = finer(swept.settings, _chosen(swept), own)
        swept = _scored(maps, pages, swept, between, log)
    swept = _followed(maps, pages, swept, tried, own, log)
    return Rounds(swept, _beyond(swept, tried), edges(swept.settings, _chosen(swept)))


def _followed(
    maps: Iterable[PageMap],
    pages: Sequence[Page],
    swept: SweepScores,
    tried: Mapping[str, Sequence[Any]],
    own: Collection[str],
    log: Callable[[str], None],
) -> SweepScores:
    """The sweep and what lies beyond the ends where its best lies."""
    while True:
        more = _new(swept, further(swept.settings[0], tried, swept.tuned(), own))
        if not more:
            return swept
        at_end = told(edges(swept.settings, _chosen(swept)))
        log(f"best at an end of what was tried ({at_end}): trying further values")
        swept = _scored(maps, pages, swept, more, log)


def _scored(
    maps: Iterable[PageMap],
    pages: Sequence[Page],
    swept: SweepScores | None,
    settings: Sequence[PostprocessConfig],
    log: Callable[[str], None],
) -> SweepScores:
    new = tuple(settings) if swept is None else _new(swept, settings)
    if swept is not None and not new:
        return swept
    log(f"scoring {len(new)} settings")
    found = sweep(maps, pages, new)
    return found if swept is None else swept.joined(found)


def _new(
    swept: SweepScores, settings: Sequence[PostprocessConfig]
) -> tuple[PostprocessConfig, ...]:
    known = {key_of(setting) for setting in swept.settings}
    return tuple(setting for setting in settings if key_of(setting) not in known)


def _chosen(swept: SweepScores) -> PostprocessConfig:
    return swept.settings[swept.best()]


def _beyond(swept: SweepScores, tried: Mapping[str, Sequence[Any]]) -> dict[str, list[float]]:
    """Values scored outside the lists given, but for the stored setting's."""
    found = {}
    for key in LADDERS:
        values = {getattr(setting, key) for setting in swept.settings[1:]}
        given = tried.get(key, ())
        outside = sorted(v for v in values if given and not min(given) <= v <= max(given))
        if outside := [v for v in outside if v != getattr(swept.settings[0], key)]:
            found[key] = outside
    return found
