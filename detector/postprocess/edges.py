"""The ends of the values tried of a setting: what lies beyond them, and what between.

A best value at an end says only that the best is there or further on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from detector.config.postprocess import CHOOSING
from detector.config.settings import PostprocessConfig
from detector.postprocess.sweep import around, distinct, grid

# What may be tried of a setting beyond the values given; its ends are where that ends.
LADDERS: dict[str, tuple[float, ...]] = {
    "thresh": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "box_thresh": tuple(i / 100 for i in range(5, 96, 5)),
    "unclip_ratio": (0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.4, 2.8, 3.2),
}


def beyond(key: str, values: Sequence[float], at: float) -> tuple[float, ...]:
    """The steps of a setting's ladder from the end of `values` where `at` lies, or beyond which, to
    the first one past it. None when `at` lies between the ends."""
    low, high = min(values), max(values)
    found: list[float] = []
    if at <= low:
        below = [step for step in LADDERS[key] if step < low]
        found += [*[step for step in below if step < at][-1:], *[s for s in below if s >= at]]
    if at >= high:
        above = [step for step in LADDERS[key] if step > high]
        found += [*[s for s in above if s <= at], *[step for step in above if step > at][:1]]
    return tuple(found)


def further(
    base: PostprocessConfig,
    tried: Mapping[str, Sequence[Any]],
    found: Mapping[str, Any],
    own: Collection[str],
) -> tuple[PostprocessConfig, ...]:
    """The settings beyond the ends of `tried` where the best of those around `base` lies there.

    found: the values of the best, of whatever differs among them; the further settings have its
        shape and growth. own: the settings of which more may be tried. What there is depends on
        these alone, so that a training that was interrupted tries the same.
    """
    at = base.model_copy(update=dict(found))
    more = {
        key: beyond(key, tried[key], getattr(at, key)) for key in _ordered(at, tried) if key in own
    }
    wider = {key: (*tried[key], *steps) for key, steps in more.items()}
    same = {key: (getattr(at, key),) for key in ("shape", "unclip") if key in tried}
    return tuple(
        setting
        for setting in around(base, {**tried, **same, **wider})[1:]
        if any(getattr(setting, key) in steps for key, steps in more.items())
    )


def finer(
    settings: Sequence[PostprocessConfig], chosen: PostprocessConfig, keys: Collection[str]
) -> tuple[PostprocessConfig, ...]:
    """Settings halfway between `chosen` and its neighbours among `settings`, in each of `keys`.

    One that changes the regions moves alone, since each combination of those is dear to score.
    """
    values = {}
    for key, tried in _tried_alike(settings, chosen).items():
        at = getattr(chosen, key)
        near = (*[v for v in tried if v < at][-1:], *[v for v in tried if v > at][:1])
        if key in keys:
            values[key] = (at, *(float(f"{(at + v) / 2:.4g}") for v in near))
    cheap = {key: tried for key, tried in values.items() if key in CHOOSING}
    dear = [{key: tried} for key, tried in values.items() if key not in CHOOSING]
    found = [grid(chosen, cheap | moved) for moved in dear or [{}]]
    return distinct(s for settings in found for s in settings)


def edges(settings: Sequence[PostprocessConfig], chosen: PostprocessConfig) -> dict[str, float]:
    """The values of `chosen` that are the first or last of several among `settings`, by name.

    Among those of its shape and growth.
    """
    ends = {k: (v[0], v[-1]) for k, v in _tried_alike(settings, chosen).items() if len(v) > 1}
    return {key: at for key, end in ends.items() if (at := getattr(chosen, key)) in end}


def told(found: Mapping[str, float]) -> str:
    """`edges` for people; empty without any."""
    return ", ".join(f"{key}={value:g}" for key, value in found.items())


def _tried_alike(
    settings: Sequence[PostprocessConfig], chosen: PostprocessConfig
) -> dict[str, list[float]]:
    """The values tried with the shape and growth of `chosen`, by name, in rising order."""
    alike = [s for s in settings if (s.shape, s.unclip) == (chosen.shape, chosen.unclip)]
    return {key: sorted({getattr(s, key) for s in alike}) for key in _ordered(chosen, LADDERS)}


def _ordered(at: PostprocessConfig, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that have a ladder and mean something to a setting."""
    return [k for k in keys if k in LADDERS and (k != "unclip_ratio" or at.unclip == "ratio")]
