"""A resolved space compared with the detector's settings: every fault, before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any

from detector.config import TrainConfig
from detector.settings import field_names
from orchestrator.config import unknown_key
from orchestrator.parameters import Parameter
from orchestrator.settings import absolute, backbone_fault, faults_of, read_one, read_settings
from orchestrator.space_layers import Fault, Layer, Point

COMMAND_LINE = "command line"
KEYS = tuple(field_names(TrainConfig))
# The search decides these itself; a second place to set them would be ignored silently.
DECIDED_ELSEWHERE = {
    "train.epochs": "the scheduler must know it; set budget.epochs instead",
    "train.threads": "it follows a trial's share; set resources.cpus_per_trial instead",
}
# Trials scored on different pages cannot be compared.
NOT_SEARCHABLE = ("data.root", "data.val_split", "data.val_pages", "data.exclude")


@dataclass(frozen=True)
class Checked:
    """A layer with values as the detector reads them, what was dropped, and the faults."""

    fixed: dict[str, Any]
    parameters: dict[str, Parameter]  # conditions before dependants
    warm_start: tuple[Point, ...]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


def check(layer: Layer) -> Checked:
    """The layer's settings checked one by one, then together."""
    faults: list[Fault] = []
    fixed = _fixed(layer, faults)
    parameters = {
        key: checked
        for key, parameter in layer.parameters.items()
        if (checked := _parameter(layer, fixed, parameter, faults)) is not None
    }
    parameters, dropped, notes = _conditions(layer, fixed, parameters, faults)
    unusable = layer.parameters.keys() - parameters.keys()  # already told
    points = _warm_start(layer, fixed, parameters, dropped | unusable, faults)
    if not layer.parameters:
        faults.append(
            "parameters: nothing is left to search; free a setting, "
            "or train once with python -m detector.train"
        )
    return Checked(fixed, parameters, points, tuple(notes), tuple(faults))


def _told(layer: Layer, section: str, key: str, text: str) -> Fault:
    return f"{layer.origin.get((section, key), COMMAND_LINE)}: {text}"


def _names_setting(layer: Layer, section: str, key: str, faults: list[Fault]) -> bool:
    if key not in KEYS:
        faults.append(_told(layer, section, key, unknown_key(key, KEYS)))
    elif key in DECIDED_ELSEWHERE:
        faults.append(_told(layer, section, key, f"{key}: {DECIDED_ELSEWHERE[key]}"))
    else:
        return True
    return False


def _fixed(layer: Layer, faults: list[Fault]) -> dict[str, Any]:
    """The fixed settings as the detector reads them, without those it refuses."""
    values = {k: v for k, v in layer.fixed.items() if _names_setting(layer, "fixed", k, faults)}
    while found := faults_of(values):
        bad = {k for k in values if any(k == f or k.startswith(f"{f}.") for f, _ in found)}
        for key, text in found:
            place = next((k for k in values if k == key or k.startswith(f"{key}.")), key)
            faults.append(_told(layer, "fixed", place, text))
        if not bad:
            break
        values = {k: v for k, v in values.items() if k not in bad}
    fixed = read_settings(values)
    if (fault := backbone_fault(fixed.get("model.backbone"))) is not None:
        faults.append(_told(layer, "fixed", "model.backbone", fault))
    return fixed


def _parameter(
    layer: Layer, fixed: Mapping[str, Any], parameter: Parameter, faults: list[Fault]
) -> Parameter | None:
    """The parameter with values as the detector reads them; None when it cannot be searched."""
    key = parameter.key
    if not _names_setting(layer, "parameters", key, faults):
        return None
    found: list[str] = []
    if key in NOT_SEARCHABLE:
        found.append("not searchable: trials would be scored on different pages; set it fixed")
    read = []
    for value in parameter.values:
        refused = _refused(layer, fixed, key, value)
        found += [f"{text.removeprefix(f'{key}: ')}; change {value!r} here" for text in refused]
        if not refused:
            read.append(absolute(key, read_one(fixed, key, value)))
    if not found:
        found = _sort_faults(layer, fixed, parameter, read)
    faults += [_told(layer, "parameters", key, f"{key}: {text}") for text in found]
    if found:
        return None
    values = read if parameter.kind != "int" else parameter.values
    return replace(parameter, values=tuple(values))


def _refused(layer: Layer, fixed: Mapping[str, Any], key: str, value: Any) -> list[str]:
    """Why the detector refuses a value whatever the space's other parameters are.

    A rule between two settings counts only if it fails with the others at their defaults,
    at their first and at their last values.
    """
    section = key.partition(".")[0]
    others = {k: p for k, p in layer.parameters.items() if k != key and k in KEYS}
    first: list[str] = []
    for background in (
        {},
        {k: p.values[0] for k, p in others.items()},
        {k: p.values[-1] for k, p in others.items()},
    ):
        found = faults_of({**fixed, **background, key: value})
        mine = [text for name, text in found if name in (key, section)]
        if not mine:
            return []
        first = first or mine
    return first


def _sort_faults(
    layer: Layer, fixed: Mapping[str, Any], parameter: Parameter, read: list[Any]
) -> list[str]:
    """Whether the kind of range suits the setting, given that its ends are valid."""
    if parameter.kind == "choice":
        plain = [(type(v), v) for v in read]
        twice = [v for i, (_, v) in enumerate(plain) if plain[i] in plain[:i]]
        bad = [f"{v!r} is listed twice; keep one" for v in twice]
        if parameter.key == "model.backbone":
            bad += [fault for v in read if (fault := backbone_fault(v)) is not None]
        return bad
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in read):
        return [f"is no number, so {parameter.kind} cannot be; use choice"]
    if parameter.kind != "int" and any(isinstance(v, int) for v in read):
        return [f"takes whole numbers only, so {parameter.kind} cannot be; use int"]
    if parameter.kind == "int":
        inside = parameter.values[0] + parameter.step
        refused = _refused(layer, fixed, parameter.key, inside)
        return (
            [f"{refused[0].removeprefix(f'{parameter.key}: ')}; add a fitting step"]
            if refused
            else []
        )
    return []


def _conditions(
    layer: Layer, fixed: Mapping[str, Any], parameters: dict[str, Parameter], faults: list[Fault]
) -> tuple[dict[str, Parameter], set[str], list[str]]:
    """The parameters in order of their conditions; those on fixed settings are decided now."""
    decided: dict[str, Parameter] = {}
    dropped: set[str] = set()
    notes: list[str] = []
    graph = {
        key: [k for k in parameter.when if k in parameters] for key, parameter in parameters.items()
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        key = error.args[1][0]
        faults.append(
            _told(layer, "parameters", key, f"{key}: when: conditions in a circle: {circle}")
        )
        return parameters, dropped, notes
    for key in order:
        parameter = parameters[key]
        when, found = _read_when(layer, fixed, parameters, parameter)
        faults += [_told(layer, "parameters", key, f"{key}: when: {text}") for text in found]
        unmet = [k for k, allowed in when.items() if k in fixed and fixed[k] not in allowed]
        unmet += [k for k in when if k in dropped]
        if unmet and not found:
            dropped.add(key)
            notes.append(f"{key} is not searched: it needs another {unmet[0]}")
            continue
        decided[key] = replace(parameter, when={k: v for k, v in when.items() if k in parameters})
    return {k: decided[k] for k in _kept_order(layer, order) if k in decided}, dropped, notes


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
    fixed: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    parameter: Parameter,
) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    when: dict[str, tuple[Any, ...]] = {}
    faults = []
    for key, allowed in parameter.when.items():
        if key not in fixed and key not in layer.parameters:
            near = get_close_matches(key, [*layer.parameters, *fixed], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "name one that is"
            faults.append(f"{key}: is neither searched nor fixed in this space; {hint}")
            continue
        when[key] = tuple(read_one(fixed, key, value) for value in allowed)
        other = parameters.get(key)
        for value in when[key]:
            if other is not None and not other.contains(value):
                faults.append(f"{key} is never {value!r}: it is {other.describe()}")
    return when, faults


def _warm_start(
    layer: Layer,
    fixed: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    dropped: set[str],
    faults: list[Fault],
) -> tuple[Point, ...]:
    """The points' values as the detector reads them, each once."""
    points: list[Point] = []
    for index, given in enumerate(layer.warm_start or ()):
        point: Point = {}
        for key, value in given.items():
            place = layer.origin["warm_start", index, key]
            if key in parameters:
                point[key] = _plain(parameters[key], read_one(fixed, key, value))
                if not parameters[key].contains(point[key]):
                    faults.append(
                        f"{place}: {key}: a warm start must lie in the space, "
                        f"{parameters[key].describe()}; got {value!r}"
                    )
            elif key not in dropped and layer.origin.get(("fixed", key)) != COMMAND_LINE:
                faults.append(f"{place}: {_not_searched(key, fixed, parameters)}")
        faults += [
            f"{layer.origin['warm_start', index, key]}: {key}: does not apply at this point "
            f"(when: {parameters[key].to_plain()['when']}); remove it"
            for key in point
            if parameters[key].when.keys() <= point.keys() and not parameters[key].applies(point)
        ]
        if point and point not in points:
            points.append(point)
    return tuple(points)


def _plain(parameter: Parameter, value: Any) -> Any:
    """10.0 as 10 for whole-number ranges, which Optuna hands out as int."""
    if parameter.kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _not_searched(key: str, fixed: Mapping[str, Any], parameters: Iterable[str]) -> str:
    if key in fixed:
        return f"{key}: a warm start holds searched settings only, and this one is fixed; remove it"
    return unknown_key(key, list(parameters))
