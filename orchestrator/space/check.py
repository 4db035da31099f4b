"""A resolved space compared with the detector's settings: every fault, before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from detector.config import TrainConfig
from detector.settings import field_names
from orchestrator.config.keys import unknown_key
from orchestrator.space.conditions import decide
from orchestrator.space.layers import COMMAND_LINE, WARM_START, Fault, Layer, Point
from orchestrator.space.parameters import Parameter
from orchestrator.space.published import Published, read_published, settings_of
from orchestrator.space.values import absolute, backbone_fault, faults_of, read_one, read_settings

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
    """A layer with values as the detector reads them, what was dropped, and the faults."""

    fixed: dict[str, Any]
    parameters: dict[str, Parameter]  # conditions before dependants
    warm_start: tuple[Point, ...]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]
    published: tuple[Published, ...] = ()  # in the order of warm_start


def check(layer: Layer) -> Checked:
    """The layer's settings checked one by one, then together."""
    faults: list[Fault] = []
    fixed = _fixed(layer, faults)
    parameters = {
        key: checked
        for key, parameter in layer.parameters.items()
        if (checked := _parameter(layer, fixed, parameter, faults)) is not None
    }
    decided = decide(layer, fixed, parameters)
    faults += decided.faults
    parameters = decided.parameters
    dropped = layer.parameters.keys() - parameters.keys()  # already told
    points, published, notes = _warm_start(layer, fixed, parameters, dropped, faults)
    if not layer.parameters:
        faults.append(
            "parameters: nothing is left to search; free a setting, "
            "or train once with python -m detector.train"
        )
    return Checked(fixed, parameters, points, (*decided.notes, *notes), tuple(faults), published)


def _names_setting(layer: Layer, section: str, key: str, faults: list[Fault]) -> bool:
    if key not in KEYS:
        faults.append(layer.told(section, key, unknown_key(key, KEYS)))
    elif key in DECIDED_ELSEWHERE:
        faults.append(layer.told(section, key, f"{key}: {DECIDED_ELSEWHERE[key]}"))
    else:
        return True
    return False


def _fixed(layer: Layer, faults: list[Fault]) -> dict[str, Any]:
    """The fixed settings as the detector reads them, without those it refuses."""
    values = {k: v for k, v in layer.settled.items() if _names_setting(layer, "fixed", k, faults)}
    while found := faults_of(values):
        bad: set[str] = set()
        for key, text in found:
            meant = [k for k in values if k == key or k.startswith(f"{key}.")]
            if not key:  # a rule between sections, which names the settings in its text
                meant = [k for k in values if k in text]
            faults.append(layer.told("fixed", next(iter(meant), key), text))
            bad |= {*meant}
        if not bad:
            break
        values = {k: v for k, v in values.items() if k not in bad}
    fixed = read_settings(values)
    if (fault := backbone_fault(fixed.get("model.backbone"))) is not None:
        faults.append(layer.told("fixed", "model.backbone", fault))
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
        found.append(f"not searchable: {NOT_SEARCHABLE[key]}; set it fixed")
    read = []
    for value in parameter.values:
        refused = _refused(layer, fixed, key, value)
        found += [f"{text.removeprefix(f'{key}: ')}; change {value!r} here" for text in refused]
        if not refused:
            read.append(absolute(key, read_one(fixed, key, value)))
    if not found:
        found = _sort_faults(layer, fixed, parameter, read)
    faults += [layer.told("parameters", key, f"{key}: {text}") for text in found]
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


def _warm_start(
    layer: Layer,
    fixed: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    dropped: Set[str],
    faults: list[Fault],
) -> tuple[tuple[Point, ...], tuple[Published, ...], list[str]]:
    """The points as the detector reads them, each once, what was published for them, and notes."""
    changed = layer.outdated.get(WARM_START, frozenset())
    points: list[Point] = []
    published: list[Published] = []
    notes: list[str] = []
    for index, given in enumerate(layer.warm_start or ()):
        settings = settings_of(given)
        places = {key: layer.origin["warm_start", index, key] for key in given}
        faults += [
            f"{places[key]}: {_not_searched(layer, key, fixed, parameters)}"
            for key in settings
            if key not in parameters and key not in dropped | changed
            if layer.origin.get(("fixed", key)) != COMMAND_LINE
        ]
        point = {
            key: _plain(parameters[key], read_one(fixed, key, value))
            for key, value in settings.items()
            if key in parameters
        }
        outside = [key for key, v in point.items() if not parameters[key].contains(v)]
        if lost := next((key for key in outside if key in changed), None):
            value = f"{lost}={point[lost]} is not in this space ({parameters[lost].describe()})"
            notes.append(f"the warm start of {places[lost]} is left out: {value}")
            continue
        point = _applicable(point, parameters, changed)
        faults += _misplaced(point, parameters, places)
        if point and point not in points:
            points.append(point)
        held = {k: fixed[k] for k, v in settings.items() if k in fixed and v != fixed[k]}
        if (row := read_published(given, point, held, places, faults)) is not None:
            published.append(row)
    ordered = sorted(published, key=lambda row: points.index(row.point))
    return tuple(points), tuple(ordered), notes


def _misplaced(
    point: Point, parameters: Mapping[str, Parameter], places: Mapping[str, str]
) -> Iterator[Fault]:
    """Values of a point outside the space, and settings that do not apply at it."""
    for key, value in point.items():
        parameter = parameters[key]
        if not parameter.contains(value):
            yield (
                f"{places[key]}: {key}: a warm start must lie in the space, "
                f"{parameter.describe()}; got {value!r}"
            )
        if parameter.when.keys() <= point.keys() and not parameter.applies(point):
            yield (
                f"{places[key]}: {key}: does not apply at this point "
                f"(when: {parameter.to_plain()['when']}); remove it"
            )


def _applicable(point: Point, parameters: Mapping[str, Parameter], changed: Set[str]) -> Point:
    """The point without settings that apply no more because of what has changed since."""
    gone: set[str] = set()
    for key, parameter in parameters.items():
        conditions = parameter.when.keys()
        fits = not conditions <= point.keys() or parameter.applies(point)
        if conditions & gone or (not fits and {key, *conditions} & changed):
            gone.add(key)
    return {key: value for key, value in point.items() if key not in gone}


def _plain(parameter: Parameter, value: Any) -> Any:
    """10.0 as 10 for whole-number ranges, which Optuna hands out as int."""
    if parameter.kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _not_searched(
    layer: Layer, key: str, fixed: Mapping[str, Any], parameters: Iterable[str]
) -> str:
    if key in fixed or key in layer.removed:
        why = "fixed" if key in fixed else "taken out (null)"
        return f"{key}: a warm start holds searched settings only, and this one is {why}; remove it"
    return unknown_key(key, list(parameters))
