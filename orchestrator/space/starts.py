"""A space for this machine: without the whole detectors whose packages are not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detector.core.errors import InputError
from detector.model.graph.starts import STARTS, named_start
from orchestrator.config.budget import BudgetConfig
from orchestrator.space.conditions import INIT
from orchestrator.space.search_space import SearchSpace, load_space


def load_available(
    ref: str,
    *,
    gpu: bool,
    overrides: Mapping[str, Any],
    budget: BudgetConfig,
    narrow: Mapping[str, Any],
) -> SearchSpace:
    """`load_space` without the starts that cannot be had here, each with a note.

    Where none of several can be had, all stay: the check of starts says what to install. A start
    that is left alone is fixed.
    """
    space = load_space(ref, gpu=gpu, overrides=overrides, budget=budget, narrow=narrow)
    missing = _missing(space)
    rest = [value for value in _choices(space) if value not in missing]
    if not missing or not rest:
        return space
    kept = load_space(
        ref, gpu=gpu, overrides=overrides, budget=budget, narrow={**narrow, INIT: rest}
    )
    notes = [f"{reason}; it is not searched" for reason in missing.values()]
    kept = replace(kept, notes=(*notes, *kept.notes))
    return _settled(kept, rest[0]) if len(rest) == 1 else kept


def _choices(space: SearchSpace) -> list[Any]:
    parameter = space.parameters.get(INIT)
    return [] if parameter is None else [*parameter.values]


def _missing(space: SearchSpace) -> dict[str, str]:
    """Starts by name that trials may have and whose package is not here, with the reason."""
    found = {}
    for value in _choices(space):
        if value in STARTS:
            try:
                named_start(value)
            except InputError as error:
                found[value] = str(error)
    return found


def _settled(space: SearchSpace, value: Any) -> SearchSpace:
    """The space with its one start fixed, and what depends on that searched always."""
    parameters = {
        key: replace(parameter, when={k: some for k, some in parameter.when.items() if k != INIT})
        for key, parameter in space.parameters.items()
        if key != INIT
    }
    return replace(
        space,
        fixed={**space.fixed, INIT: value},
        parameters=parameters,
        warm_start=tuple(_without(point) for point in space.warm_start),
        published=tuple(replace(row, point=_without(row.point)) for row in space.published),
    )


def _without(point: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in point.items() if key != INIT}
