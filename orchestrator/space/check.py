"""A resolved space compared with the detector's settings: every fault, before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from detector.config.sections import field_names
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from orchestrator.config.keys import unknown_key
from orchestrator.space.conditions import decide
from orchestrator.space.layers import COMMAND_LINE, Entry, Fault, Layer
from orchestrator.space.parameters import Budget, Parameter, narrowed, read_parameter
from orchestrator.space.published import Published, read_points
from orchestrator.space.values import (
    DEFAULTS,
    backbone_fault,
    faults_of,
    read_settings,
    read_value,
    validated,
)

KEYS = tuple(field_names(TrainConfig))
# The search decides these itself; a second place to set them would be ignored silently.
DECIDED_ELSEWHERE = {
    "train.epochs": "the scheduler must know it; set budget.epochs instead",
    "train.threads": "it follows a trial's share; set resources.cpus_per_trial instead",
    "train.processes": "a trial is one process, and trials run side by side; leave it out",
}
_OTHER_PAGES = "trials would be scored on different pages"
# Trials whose scores mean different things cannot be compared.
NOT_SEARCHABLE = {
    "data.root": _OTHER_PAGES,
    "data.val_split": _OTHER_PAGES,
    "data.val_pages": _OTHER_PAGES,
    "data.exclude": _OTHER_PAGES,
    "data.cache": "it changes no training",
    "sweep.choose": "some scores would be cross-fitted and some not",
    "train.device": "it follows a trial's share of GPUs",
    "train.eval_every": "trials are compared at epochs that all of them validate",
    "train.sweep": "some trials would have no scores to choose settings by",
}


@dataclass(frozen=True)
class Checked:
    """A space with values as the detector reads them, what was dropped, and the faults."""

    fixed: dict[str, Any]
    parameters: dict[str, Parameter]  # conditions before dependants
    warm_start: tuple[dict[str, Any], ...]
    published: tuple[Published, ...]  # in the order of warm_start
    budget: Budget
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


def check(layer: Layer, narrow: Mapping[str, Any] | None = None) -> Checked:
    """The layer's settings checked one by one, then together; `narrow` as for `load_space`."""
    faults: list[Fault] = []
    fixed = _fixed(layer, faults)
    forms = _each(layer.searched, read_parameter, faults)
    if not layer.searched:
        faults.append(
            "parameters: nothing is left to search; free a setting, "
            "or train once with python -m detector.train"
        )
    readable = {key: layer.searched[key] for key in forms}
    whole = _each(readable, lambda key, _: _suited(fixed, forms, key), faults)
    # One that is searched but not in `whole` has a fault already.
    possible = {k: w for k, w in (narrow or {}).items() if k in whole or k not in layer.searched}
    wishes = {key: Entry(wish) for key, wish in possible.items()}
    parts = _each(wishes, partial(_part, layer, fixed, whole), faults, "search.narrow.")
    changed = frozenset(parts)
    parameters, notes = decide(layer, fixed, whole | parts, changed, faults)
    points, published, lost = read_points(layer, fixed, parameters, changed, faults)
    budget = _budget(layer, faults)
    notes += lost
    return Checked(fixed, parameters, points, published, budget, tuple(notes), tuple(faults))


def _each(
    entries: Mapping[str, Entry],
    read: Callable[[str, Any], Parameter],
    faults: list[Fault],
    prefix: str = "",
) -> dict[str, Parameter]:
    """What `read` makes of each entry; its InputErrors become faults at the entry's place."""
    done = {}
    for key, entry in entries.items():
        try:
            done[key] = read(key, entry.value)
        except InputError as error:
            texts = [line.removeprefix(f"{key}: ") for line in str(error).splitlines()]
            faults += [f"{entry.place}: {prefix}{key}: {text}" for text in texts]
    return done


def _key_fault(key: str) -> str | None:
    if key in DECIDED_ELSEWHERE:
        return f"{key}: {DECIDED_ELSEWHERE[key]}"
    return None if key in KEYS else unknown_key(key, KEYS)


def _fixed(layer: Layer, faults: list[Fault]) -> dict[str, Any]:
    """The fixed settings as the detector reads them, without those it refuses."""
    entries = layer.settled
    values = {key: entry.value for key, entry in entries.items()}
    for key in entries:
        if text := _key_fault(key):
            faults.append(f"{entries[key].place}: {text}")
            del values[key]
    while found := faults_of(values):
        bad: set[str] = set()
        for key, text in found:
            named = [k for k in values if k == key or k.startswith(f"{key}.")]
            if not key:  # a rule between sections, which names the settings in its text
                named = [k for k in values if k in text]
            faults.append(f"{entries[named[0]].place if named else COMMAND_LINE}: {text}")
            bad.update(named)
        if not bad:
            break
        values = {key: value for key, value in values.items() if key not in bad}
    fixed = read_settings(values)
    if text := backbone_fault(fixed.get("model.backbone")):
        faults.append(f"{entries['model.backbone'].place}: {text}")
    return fixed


def _suited(fixed: Mapping[str, Any], forms: Mapping[str, Parameter], key: str) -> Parameter:
    """The parameter with values as the detector reads them, of all those of a space.

    InputError says why it cannot be searched.
    """
    parameter = forms[key]
    if text := _key_fault(key):
        raise InputError(text)
    faults = []
    if key in NOT_SEARCHABLE:
        faults.append(f"not searchable: {NOT_SEARCHABLE[key]}; set it fixed")
    for value in parameter.values:
        texts = _refused(fixed, forms, key, value)
        faults += [f"{text.removeprefix(f'{key}: ')}; change {value!r} here" for text in texts]
    values = [] if faults else [read_value(fixed, parameter, value) for value in parameter.values]
    if not faults:
        faults = _kind_faults(parameter, values)
    if not faults and parameter.kind == "int":
        inside = _refused(fixed, forms, key, parameter.values[0] + parameter.step)
        faults = [f"{text}; add a fitting step" for text in inside[:1]]
    if faults:
        raise InputError("\n".join(faults))
    return replace(parameter, values=tuple(values))


def _refused(
    fixed: Mapping[str, Any], forms: Mapping[str, Parameter], key: str, value: Any
) -> list[str]:
    """Why the detector refuses a value whatever the space's other parameters are.

    A rule between two settings counts only if it fails with the others at their defaults,
    at their first and at their last values.
    """
    others = {k: parameter.values for k, parameter in forms.items() if k != key and k in KEYS}
    ends = [{k: values[end] for k, values in others.items()} for end in (0, -1)]

    def against(background: Mapping[str, Any]) -> list[str]:
        found = faults_of({**fixed, **background, key: value})
        return [text for name, text in found if name in (key, key.partition(".")[0])]

    refused = against({})
    return refused if refused and all(map(against, ends)) else []


def _kind_faults(parameter: Parameter, values: list[Any]) -> list[str]:
    """Whether the kind suits the setting, whose values are given as the detector reads them."""
    if parameter.kind == "choice":
        plain = [(type(v), v) for v in values]
        faults = [
            f"{v!r} is listed twice; keep one"
            for i, (_, v) in enumerate(plain)
            if plain[i] in plain[:i]
        ]
        if parameter.key == "model.backbone":
            faults += filter(None, map(backbone_fault, values))
        return faults
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        return [f"is no number, so {parameter.kind} cannot be; use choice"]
    if parameter.kind != "int" and any(isinstance(v, int) for v in values):
        return [f"takes whole numbers only, so {parameter.kind} cannot be; use int"]
    return []


def _part(
    layer: Layer, fixed: Mapping[str, Any], whole: Mapping[str, Parameter], key: str, wish: Any
) -> Parameter:
    """What `search.narrow` leaves of a parameter; InputError says what is wrong with the wish."""
    if key in whole:
        values = wish if isinstance(wish, list) else [wish]
        return narrowed(whole[key], [read_value(fixed, whole[key], value) for value in values])
    entry = layer.settled.get(key)
    if entry is None and key not in DEFAULTS:
        raise InputError(unknown_key(key, list(layer.searched)))
    if entry is not None and entry.place == COMMAND_LINE:
        raise InputError(f"{key}={entry.value} fixes it for every trial; give one of the two")
    state = f"fixed to {entry.value} ({entry.place})" if entry else f"{DEFAULTS[key]} by default"
    raise InputError(
        f"is not searched in this space: it is {state}; searched are {', '.join(layer.searched)}"
    )


def _budget(layer: Layer, faults: list[Fault]) -> Budget:
    """The budget; the default one beside a fault."""
    values = {key: entry.value for key, entry in layer.budget.items()}
    budget, found = validated(Budget, values)
    for key, text in found:
        # A rule between grace_epochs and epochs stands at either.
        about = key or ("grace_epochs" if "grace_epochs" in values else "epochs")
        faults.append(f"{layer.budget[about].place}: budget{'.' if key else ': '}{text}")
    return budget or Budget()
