"""A sweep from coarse to fine, from maps that are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detector.config.settings import PostprocessConfig
from detector.data.labels.pages import Page
from detector.postprocess.edges import LADDERS, edges, finer, further, told
from detector.postprocess.maps import PageMap
from detector.postprocess.sweep import around, others, sweep
from detector.postprocess.sweep_scores import SweepScores

Score = Callable[[Sequence[PostprocessConfig]], SweepScores]
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

    def score(settings: Sequence[PostprocessConfig]) -> SweepScores:
        log(f"scoring {len(settings)} settings")
        return sweep(maps, pages, settings)

    swept = score(around(base, tried))
    beside = {key: values for key, values in tried.items() if key in _GROWTH}
    swept = _with(swept, around(_chosen(swept), beside, every=True), score)
    for _ in range(_FINER):
        swept = _followed(swept, tried, own, score, log)
        swept = _with(swept, finer(swept.settings, _chosen(swept), own), score)
    swept = _followed(swept, tried, own, score, log)
    return Rounds(swept, _beyond(swept, tried), edges(swept.settings, _chosen(swept)))


def _followed(
    swept: SweepScores,
    tried: Mapping[str, Sequence[Any]],
    own: Collection[str],
    score: Score,
    log: Callable[[str], None],
) -> SweepScores:
    """The sweep and what lies beyond the ends where its best lies."""
    while more := others(further(swept.settings[0], tried, swept.tuned(), own), swept.settings):
        at_end = told(edges(swept.settings, _chosen(swept)))
        log(f"best at an end of what was tried ({at_end}): trying further values")
        swept = _with(swept, more, score)
    return swept


def _with(swept: SweepScores, settings: Sequence[PostprocessConfig], score: Score) -> SweepScores:
    """The sweep and the scores of those settings that it has none of."""
    new = others(settings, swept.settings)
    return swept.joined(score(new)) if new else swept


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
