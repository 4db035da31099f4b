"""The conditions (`when:`) of a space: which parameters are searched at all, and at which points.

A condition on a fixed setting holds in every trial or in none. One that can hold no more, because
of the command line, of narrowing or of a file that extends this one, takes its setting out of the
search, which a note tells; one that could never hold is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from detector.core.errors import InputError
from detector.model.graph.starts import NONE, is_named
from orchestrator.space.files import meant
from orchestrator.space.layers import Fault, Layer
from orchestrator.space.parameters import Parameter
from orchestrator.space.values import DEFAULTS, absolute, read_one

INIT = "train.init"
# Of model.*, what a network that is read from a file is trained with too.
OF_ANY_NETWORK = ("model.step_k",)


def decide(
    layer: Layer,
    fixed: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    changed: frozenset[str],
    faults: list[Fault],
) -> tuple[dict[str, Parameter], list[str]]:
    """The parameters that can be searched with the conditions that are left, and notes.

    `changed` are parameters that have fewer values here than in the layer.
    """
    removed = layer.parameters.keys() - layer.searched.keys()
    settled = {key: value for key, value in DEFAULTS.items() if key in removed} | dict(fixed)
    kept: dict[str, Parameter] = {}
    notes = []
    unread = _unread(fixed, parameters)
    for key in _order(layer, parameters, faults):
        entry = layer.parameters[key]
        when, unmet, texts = {}, [INIT] if key in unread else [], []
        for other, values in parameters[key].when.items():
            if other in layer.searched and other not in parameters:
                continue  # it has a fault already
            if other not in layer.searched and other not in settled:
                hint = meant(other, [*layer.searched, *settled])
                texts.append(f"{other}: is neither searched nor fixed in this space; {hint}")
                continue
            allowed = [absolute(other, read_one(settled, other, value)) for value in values]
            if other not in parameters:
                if settled[other] not in allowed:
                    unmet.append(other)
                continue
            when[other] = tuple(v for v in allowed if parameters[other].contains(v))
            if other not in entry.newer | changed:
                never = [v for v in allowed if not parameters[other].contains(v)]
                are = parameters[other].describe()
                texts += [f"{other} is never {v!r}: it is {are}" for v in never]
            if other not in kept or not when[other]:
                unmet.append(other)
        faults += [f"{entry.place}: {key}: when: {text}" for text in texts]
        if unmet:
            notes.append(f"{key} is not searched: it needs another {unmet[0]}")
        else:
            kept[key] = replace(parameters[key], when=when)
    return kept, notes


def _order(layer: Layer, parameters: Mapping[str, Parameter], faults: list[Fault]) -> list[str]:
    """The parameters in the file's order, but each after those that its conditions name."""
    order: list[str] = []

    def place(key: str, above: tuple[str, ...]) -> None:
        if key in above:
            circle = " -> ".join((*above[above.index(key) :], key))
            at = layer.parameters[key].place
            faults.append(f"{at}: {key}: when: conditions in a circle: {circle}")
        elif key not in order:
            for other in filter(parameters.get, parameters[key].when):
                place(other, (*above, key))
            order.append(key)

    for key in parameters:
        place(key, ())
    return order


def completed(point: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """A point with the values that its settings need of others, which it has none for.

    Drawn, these could take settings out of the point. Where several values fit it is the default,
    or left open. `parameters` are in the order of `decide`.
    """
    found = dict(point)
    for key in reversed(list(parameters)):
        whens = [p.when[key] for name, p in parameters.items() if name in found and key in p.when]
        if key in found or not whens:
            continue
        fits = [value for value in whens[0] if all(value in some for some in whens)]
        if len(fits) == 1 or DEFAULTS[key] in fits:
            found[key] = fits[0] if len(fits) == 1 else DEFAULTS[key]
    return found


def starts(fixed: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> list[str]:
    """The values of train.init that trials may have."""
    if INIT in parameters:
        return [str(value) for value in parameters[INIT].values]
    return [str(fixed.get(INIT, DEFAULTS[INIT]))]


def _unread(fixed: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> list[str]:
    """The parameters that say nothing of the networks that trials may have."""
    settings = [k for k in parameters if k.startswith("model.") and k not in OF_ANY_NETWORK]
    foreign = bool(settings) and all(map(_foreign, starts(fixed, parameters)))
    return settings if foreign else []


def _foreign(init: str) -> bool:
    """Whether a start has a network of its own; what cannot be read is told by another check."""
    if init == NONE:
        return False
    if is_named(init):
        return True
    from detector.inference.networks import has_own_network  # seconds of imports

    try:
        return has_own_network(init)
    except InputError:
        return False
