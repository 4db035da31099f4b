"""Which backbones of a space have no published weights that can be had, told before the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from detector.model.graph.starts import NONE
from detector.model.weights import why_from_scratch
from orchestrator.space.conditions import INIT, starts
from orchestrator.space.search_space import SearchSpace
from orchestrator.space.values import DEFAULTS

BACKBONE, WEIGHTS = "model.backbone", "model.weights"


def scratch_note(space: SearchSpace) -> str | None:
    """Which trials would start from scratch though they ask for published weights, and why.

    As it is on this machine: no package, no copy of the hub's file, and no answer from the hub,
    which is asked once. None where every backbone that may be tried has weights.
    """
    names = {name for name, weights in _tried(space) if weights == "auto"}
    reasons = {name: reason for name in sorted(names) if (reason := why_from_scratch(name))}
    if not reasons:
        return None
    told = [
        f"{', '.join(name for name in reasons if reasons[name] == reason)}: {reason}"
        for reason in dict.fromkeys(reasons.values())
    ]
    rest = ",".join(sorted(names - reasons.keys()))
    told += [f"search.narrow.{BACKBONE}=[{rest}] searches only those with weights"] * bool(rest)
    return "\n  ".join(["trials with these backbones start from scratch", *told])


def _tried(space: SearchSpace) -> Iterable[tuple[Any, Any]]:
    """Backbone and weights of points that trials may have, which begin as no whole detector."""
    if NONE not in starts(space.fixed, space.parameters):
        return []
    warm = space.warm_start[: space.budget.trials]
    ours = [point for point in warm if _one(space, INIT, point) == NONE]
    known = BACKBONE not in space.parameters or all(BACKBONE in point for point in ours)
    if len(warm) == space.budget.trials and known:
        return [(_one(space, BACKBONE, point), _one(space, WEIGHTS, point)) for point in ours]
    return product(_values(space, BACKBONE), _values(space, WEIGHTS))


def _values(space: SearchSpace, key: str) -> Iterable[Any]:
    parameter = space.parameters.get(key)
    return parameter.values if parameter else [_one(space, key, {})]


def _one(space: SearchSpace, key: str, point: Mapping[str, Any]) -> Any:
    return {**DEFAULTS, **space.fixed, **point}[key]
