"""A space file's layers: the space itself and what `cpu:` and `demo:` replace in it.

Here only the form of one file is checked; `space_check` compares it with the detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

from detector.plain import KeyPath
from orchestrator.space.files import SpaceFile
from orchestrator.space.parameters import KINDS, Budget, Kind, Parameter

SECTIONS = ("fixed", "parameters", "warm_start", "budget")
TOP_KEYS = ("extends", "name", "description", *SECTIONS, "cpu", "demo")
COMMAND_LINE = "command line"
FORMS: tuple[Kind | Literal["const"], ...] = (*KINDS, "const")
WARM_START: KeyPath = ("warm_start",)
Fault = str
Point = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """Part of a space.

    fixed: a value here counts only while the key is not searched; see `settled`.
    removed: keys that are no longer searched, whatever the layers below say.
    origin: where things stand, ("fixed", key) -> "file:line".
    outdated: ("parameters", key) or WARM_START -> the keys that were changed after that was
    written, by a file that extends its own or by narrowing. A condition or a point that does
    not fit these any more is no fault.
    """

    fixed: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    warm_start: tuple[Point, ...] | None = None  # None: the layer below decides
    budget: dict[str, Any] = field(default_factory=dict)
    origin: dict[KeyPath, str] = field(default_factory=dict)
    outdated: dict[KeyPath, frozenset[str]] = field(default_factory=dict)

    @property
    def settled(self) -> dict[str, Any]:
        """The fixed values of settings that are not searched."""
        return {k: v for k, v in self.fixed.items() if k not in self.parameters}

    def under(self, over: Layer) -> Layer:
        """This layer with another on top: keys replace keys, a list of points the whole list."""
        gone = over.settled.keys() | over.removed
        searched = {k: v for k, v in self.parameters.items() if k not in gone}
        rewritten: set[KeyPath] = {("parameters", key) for key in over.parameters}
        if over.warm_start is not None:
            rewritten.add(WARM_START)
        return Layer(
            fixed=self.fixed | over.fixed,
            parameters=searched | over.parameters,
            removed=self.removed - over.parameters.keys() | over.removed,
            warm_start=self.warm_start if over.warm_start is None else over.warm_start,
            budget=self.budget | over.budget,
            origin=self.origin | over.origin,
            outdated={k: v for k, v in self.outdated.items() if k not in rewritten} | over.outdated,
        )

    def outdated_by(self, keys: Iterable[str]) -> Layer:
        """A copy that knows of keys changed after it was written."""
        places = [("parameters", key) for key in self.parameters]
        written: list[KeyPath] = [*places, *([] if self.warm_start is None else [WARM_START])]
        newer = frozenset(keys)
        return replace(
            self, outdated={p: self.outdated.get(p, frozenset()) | newer for p in written}
        )

    def told(self, section: str, key: str, text: str) -> Fault:
        """A message about a key of a section, with its place."""
        return f"{self.origin.get((section, key), COMMAND_LINE)}: {text}"


@dataclass(frozen=True)
class Layers:
    """All of a file, or of a file and its parents, with the faults in their form."""

    base: Layer
    cpu: Layer
    demo: Layer
    faults: tuple[Fault, ...]


def read_layers(file: SpaceFile) -> Layers:
    """The layers of a space file; what cannot be read is left out and becomes a fault."""
    faults = list(_unknown(file, (), file.content, TOP_KEYS))
    for key in ("name", "description"):
        if not isinstance(file.content.get(key, ""), str):
            faults.append(f"{file.where((key,))}: {key}: must be text")
    base = _layer(file, (), file.content, faults)
    parts = {}
    for name in ("cpu", "demo"):
        content = _mapping(file, (name,), file.content.get(name), faults)
        faults += _unknown(file, (name,), content, SECTIONS)
        parts[name] = _layer(file, (name,), content, faults)
    return Layers(base, parts["cpu"], parts["demo"], tuple(faults))


def _unknown(
    file: SpaceFile, path: KeyPath, content: Mapping[Any, Any], names: tuple[str, ...]
) -> Iterator[Fault]:
    for key in content:
        if key not in names:
            near = get_close_matches(str(key), names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"valid: {', '.join(names)}"
            yield f"{file.where((*path, str(key)))}: {key}: unknown section; {hint}"


def _mapping(file: SpaceFile, path: KeyPath, value: Any, faults: list[Fault]) -> dict[str, Any]:
    """The value with text keys; an absent section is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(
            f"{file.where(path)}: {path[-1]}: must hold `key: value` lines, got {value!r}"
        )
        return {}
    return {str(key): item for key, item in value.items()}


def _layer(
    file: SpaceFile, path: KeyPath, content: Mapping[str, Any], faults: list[Fault]
) -> Layer:
    origin: dict[KeyPath, str] = {}
    parts: dict[str, dict[str, Any]] = {}
    for section in ("fixed", "parameters", "budget"):
        here = (*path, section)
        parts[section] = _mapping(file, here, content.get(section), faults)
        origin |= {(section, key): file.where((*here, key)) for key in parts[section]}
    removed = frozenset(key for key, spec in parts["parameters"].items() if spec is None)
    for key in sorted(parts["fixed"].keys() & parts["parameters"].keys() - removed):
        faults.append(f"{origin['fixed', key]}: {key}: both fixed and searched; keep one")
    budget = {key: value for key, value in parts["budget"].items() if key in Budget.model_fields}
    faults += _unknown(file, (*path, "budget"), parts["budget"], tuple(Budget.model_fields))
    searched = {}
    for key, spec in parts["parameters"].items():
        if key in removed:
            continue
        parameter, found = _parameter(key, spec)
        faults += [f"{origin['parameters', key]}: {key}: {fault}" for fault in found]
        if parameter is not None:
            searched[key] = parameter
    points = _points(file, (*path, "warm_start"), content.get("warm_start"), origin, faults)
    return Layer(parts["fixed"], searched, removed, points, budget, origin)


def _points(
    file: SpaceFile,
    path: KeyPath,
    value: Any,
    origin: dict[KeyPath, str],
    faults: list[Fault],
) -> tuple[Point, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(point, dict) for point in value):
        faults.append(f"{file.where(path)}: warm_start: must be a list of points (`- key: value`)")
        return None
    points = []
    for index, point in enumerate(value):
        points.append({str(key): item for key, item in point.items()})
        for key in points[-1]:
            origin["warm_start", index, key] = file.where((*path, index, key))
    return tuple(points)


def _parameter(key: str, spec: Any) -> tuple[Parameter | None, list[Fault]]:
    """A parameter from its spec, such as `{uniform: [0.3, 0.6]}`, or what is wrong with it."""
    forms = [form for form in FORMS if isinstance(spec, dict) and form in spec]
    if len(forms) != 1:
        return None, [f"needs exactly one of {', '.join(FORMS)}, got {spec!r}"]
    form = forms[0]
    faults = [
        f"unknown option {name!r}; beside {form} there may be when"
        + (" and step" if form == "int" else "")
        for name in spec
        if name not in (form, "when", "step" if form == "int" else "when")
    ]
    kind: Kind = "choice" if form == "const" else form
    values, step = spec[form], spec.get("step", 1)
    if form != "const":
        faults += _value_faults(kind, values)
    elif isinstance(values, list | dict):
        faults.append(f"const needs one value, got {values!r}; use choice for several")
    else:
        values = [values]
    if kind == "int" and not faults:
        faults += _step_faults(values, step)
    when, found = _when(spec.get("when"))
    faults += found
    if faults:
        return None, faults
    return Parameter(key, kind, tuple(values), step if kind == "int" else 1, when), []


def _value_faults(kind: Kind, values: Any) -> list[Fault]:
    if not isinstance(values, list) or not values:
        return [f"{kind} needs a list of values in brackets, got {values!r}"]
    if kind == "choice":
        bad = [v for v in values if v is not None and not isinstance(v, str | bool | int | float)]
        return [f"a choice is text, a number, true, false or null, got {v!r}" for v in bad]
    numbers = int if kind == "int" else (int, float)
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, numbers) for v in values):
        sort = "whole numbers" if kind == "int" else "numbers"
        return [f"{kind} needs two {sort} [low, high], got {values!r}"]
    low, high = values
    if not low < high:
        return [
            f"{kind} needs low < high, got {values!r}; swap them, or fix the value under fixed:"
        ]
    if kind == "log_uniform" and low <= 0:
        return [f"log_uniform needs low > 0, got {low!r}; use uniform or a small positive number"]
    return []


def _step_faults(values: list[int], step: Any) -> list[Fault]:
    low, high = values
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        return [f"step must be a whole number of at least 1, got {step!r}"]
    if (high - low) % step:
        last = high - (high - low) % step
        return [f"step {step} does not reach {high} from {low}; end the range at {last}"]
    return []


def _when(spec: Any) -> tuple[dict[str, tuple[Any, ...]], list[Fault]]:
    if spec is None:
        return {}, []
    if not isinstance(spec, dict) or not spec:
        return {}, [f"when needs `other.key: value` or `other.key: [values]`, got {spec!r}"]
    when = {str(k): tuple(v) if isinstance(v, list) else (v,) for k, v in spec.items()}
    return when, [f"when: {key} lists no values" for key, values in when.items() if not values]
