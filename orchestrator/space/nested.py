"""Settings that change no weights are not searched by training: they are chosen after it.

A detector of one training can be scored at any post-processing settings within seconds, so a search
that samples them together with the others trains the same weights again and again. Here they are
taken out of the space and become the sweep that follows each validation (`sweep.*`), whose
cross-fitted score is the trial's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from detector.core.errors import InputError
from orchestrator.space.parameters import Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.space.values import DEFAULTS

PREFIX, SWEEP = "postprocess.", "sweep."
CHOOSE = "sweep.choose"
MANY, FEW = 11, 5  # values of a range: of settings that only choose among regions, of others
CHOOSING = ("postprocess.box_thresh",)
Mode = Literal["nested", "joint"]


def as_searched(space: SearchSpace, wish: Mode | None) -> SearchSpace:
    """The space as trials go through it: `nested`, where its mode says so."""
    return nested(space) if mode_of(space, wish) == "nested" else space


def mode_of(space: SearchSpace, wish: Mode | None) -> Mode:
    """How post-processing is searched: as wished, else nested unless the space fixes otherwise."""
    if wish is not None:
        return wish
    refused = space.fixed.get(CHOOSE) is False or space.fixed.get("train.sweep") is False
    return "joint" if refused else "nested"


def nested(space: SearchSpace) -> SearchSpace:
    """The space without its post-processing settings, whose values each training then tries.

    Ranges become a few values and those of the warm starts; a setting that is fixed stays as it
    is, and one that is neither keeps the sweep's own values. Points that now have the same
    training are one. Applied twice it changes nothing more. Raises InputError when a setting of
    the training depends on one that is taken out, or that cannot be swept.
    """
    inner = {k: p for k, p in space.parameters.items() if k.startswith(PREFIX)}
    outer = {k: p for k, p in space.parameters.items() if k not in inner}
    _check(inner, outer)
    fixed = dict(space.fixed)
    for key, parameter in inner.items():
        given = [point[key] for point in space.warm_start if key in point]
        # Beside this value the others are tried.
        beside = (*given, DEFAULTS[key], parameter.values[0])
        fixed[key] = next(value for value in beside if parameter.contains(value))
        fixed.setdefault(_swept(key), _values(parameter, given))
    for key in space.fixed:
        if key.startswith(PREFIX) and _swept(key) in DEFAULTS:
            fixed.setdefault(_swept(key), None)
    warm_start: list[dict[str, Any]] = []
    for point in space.warm_start:
        smaller = {key: value for key, value in point.items() if key not in inner}
        warm_start += [smaller] if smaller not in warm_start else []
    trained = replace(
        space,
        parameters=outer,
        warm_start=tuple(warm_start),
        published=space.published if not inner else (),
        notes=(*space.notes, *_notes(inner, len(space.warm_start) - len(warm_start))),
    )
    return trained.with_fixed(fixed | {CHOOSE: True})


def _check(inner: Mapping[str, Parameter], outer: Mapping[str, Parameter]) -> None:
    remedy = "; add postprocess=joint to search them together"
    faults = [
        f"{key}: is searched only when {other} allows it, which is chosen after the training"
        f"{remedy}"
        for key, parameter in outer.items()
        for other in parameter.when
        if other in inner
    ]
    faults += [
        f"{key}: cannot be chosen after the training{remedy}"
        for key in inner
        if _swept(key) not in DEFAULTS
    ]
    if faults:
        raise InputError("\n".join(faults))


def _values(parameter: Parameter, given: list[Any]) -> list[Any]:
    """The values of a parameter to try, those of warm starts among them."""
    if parameter.kind == "choice":
        return list(parameter.values)
    count = MANY if parameter.key in CHOOSING else FEW
    low, high = parameter.values
    if parameter.kind == "int":
        steps = np.linspace(0, (high - low) // parameter.step, count).round()
        inside = [low + parameter.step * int(step) for step in steps]
    else:
        spread = np.geomspace if parameter.kind == "log_uniform" else np.linspace
        inside = [float(f"{value:.4g}") for value in spread(low, high, count)[1:-1]]
    return sorted({low, high, *inside, *given})


def _notes(inner: Mapping[str, Parameter], merged: int) -> Iterable[str]:
    if inner:
        yield f"chosen after each training, not sampled: {', '.join(inner)} (postprocess=nested)"
    if merged:
        yield f"{merged} warm starts differ from others in post-processing alone: trained once"


def _swept(key: str) -> str:
    return key.replace(PREFIX, SWEEP)
