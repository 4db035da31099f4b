"""Conditions between searched settings (`when:`): checked, put in order, decided where they can be.

A condition on a fixed setting holds in every trial or in none. One that can hold no more, because
of the command line, of narrowing or of a file that extends this one, takes its setting out of the
search, which a note tells; one that could never hold is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any

from orchestrator.space.layers import Fault, Layer
from orchestrator.space.parameters import Parameter
from orchestrator.space.values import DEFAULTS, read_one


@dataclass(frozen=True)
class Decided:
    """Parameters with the conditions that are left, what was dropped as notes, and the faults."""

    parameters: dict[str, Parameter]  # conditions before dependants
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


def decide(layer: Layer, fixed: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Decided:
    """The layer's parameters, given as the detector reads them, with their conditions decided."""
    graph = {key: [k for k in p.when if k in parameters] for key, p in parameters.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        key = error.args[1][0]
        fault = layer.told("parameters", key, f"{key}: when: conditions in a circle: {circle}")
        return Decided(dict(parameters), (), (fault,))
    settled = _left_at_default(layer, fixed) | dict(fixed)
    decided: dict[str, Parameter] = {}
    dropped: set[str] = set()
    notes: list[str] = []
    faults: list[Fault] = []
    for key in order:
        parameter = parameters[key]
        when, found = _read_when(layer, settled, parameters, parameter)
        faults += [layer.told("parameters", key, f"{key}: when: {text}") for text in found]
        unmet = [k for k, allowed in when.items() if k in settled and settled[k] not in allowed]
        unmet += [k for k, allowed in when.items() if k in dropped or not allowed]
        if unmet and not found:
            dropped.add(key)
            notes.append(f"{key} is not searched: it needs another {unmet[0]}")
            continue
        decided[key] = replace(parameter, when={k: v for k, v in when.items() if k in parameters})
    kept = {key: decided[key] for key in _kept_order(layer, order) if key in decided}
    return Decided(kept, tuple(notes), tuple(faults))


def _left_at_default(layer: Layer, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The detector's defaults of settings that were taken out of the search."""
    left = layer.removed - fixed.keys() - layer.parameters.keys()
    return {key: value for key, value in DEFAULTS.items() if key in left}


def _kept_order(layer: Layer, order: list[str]) -> list[str]:
    """The file's order when it already puts conditions first, else the sorted one."""
    seen: set[str] = set()
    for key, parameter in layer.parameters.items():
        if any(k in order and k not in seen for k in parameter.when):
            return order
        seen.add(key)
    return list(layer.parameters)


def _read_when(
    layer: Layer,
    settled: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    parameter: Parameter,
) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    """The values that a parameter's conditions allow, those left of them that can come about."""
    changed = layer.outdated.get(("parameters", parameter.key), frozenset())
    when: dict[str, tuple[Any, ...]] = {}
    faults = []
    for key, allowed in parameter.when.items():
        if key not in settled and key not in layer.parameters:
            near = get_close_matches(key, [*layer.parameters, *settled], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "name one that is"
            faults.append(f"{key}: is neither searched nor fixed in this space; {hint}")
            continue
        values = tuple(read_one(settled, key, value) for value in allowed)
        other = parameters.get(key)
        when[key] = values
        if other is None:
            continue
        if key in changed:
            when[key] = tuple(v for v in values if other.contains(v))
            continue
        never = [v for v in values if not other.contains(v)]
        faults += [f"{key} is never {v!r}: it is {other.describe()}" for v in never]
    return when, faults
