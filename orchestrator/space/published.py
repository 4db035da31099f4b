"""The points of a space that run first, and the scores that others published for them.

In a space file these stand with the point that they belong to, under keys that are no settings:
`published.row` (which result this is, in a few words), `published.hmean`,
`published.precision` and `published.recall`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.config.keys import unknown_key
from orchestrator.space.conditions import completed
from orchestrator.space.files import meant
from orchestrator.space.layers import COMMAND_LINE, Entry, Fault, Layer
from orchestrator.space.parameters import Parameter
from orchestrator.space.values import read_value

PREFIX = "published."
FIGURES = ("hmean", "precision", "recall")
_SCORE = "must be a score from 0 to 1 (per cent divided by 100)"
_RULES = {
    f"{PREFIX}row": "must be a line of text that says what was published",
    **{f"{PREFIX}{name}": _SCORE for name in FIGURES},
}
Point = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """One published result: searched settings by dotted name, and its scores in [0, 1]."""

    point: dict[str, Any]
    hmean: float
    precision: float
    recall: float
    row: str  # what was published, in a few words

    def to_plain(self) -> dict[str, Any]:
        """The point with its figures, as the space file writes it."""
        figures = {f"{PREFIX}{name}": getattr(self, name) for name in FIGURES}
        return {f"{PREFIX}row": self.row, **figures, **self.point}


def read_points(
    layer: Layer,
    fixed: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    changed: frozenset[str],
    faults: list[Fault],
) -> tuple[tuple[Point, ...], tuple[Published, ...], list[str]]:
    """The points as the detector reads them, each once, what was published for them, and notes."""
    points: list[Point] = []
    rows: list[Published] = []
    notes: list[str] = []
    for given in layer.warm_start or ():
        newer = changed.union(*(entry.newer for entry in given.values()))
        settings = {k: entry for k, entry in given.items() if not k.startswith(PREFIX)}
        faults += [
            f"{entry.place}: {_not_searched(layer, key, parameters)}"
            for key, entry in settings.items()
            if key not in newer and key not in layer.searched
            if key not in layer.fixed or layer.fixed[key].place != COMMAND_LINE
        ]
        point = {
            key: read_value(fixed, parameters[key], entry.value)
            for key, entry in settings.items()
            if key in parameters
        }
        outside = [key for key, value in point.items() if not parameters[key].contains(value)]
        if lost := [key for key in outside if key in newer]:
            why = f"{lost[0]}={point[lost[0]]} is not in this space"
            why += f" ({parameters[lost[0]].describe()})"
            notes.append(f"the warm start of {given[lost[0]].place} is left out: {why}")
            continue
        faults += [
            f"{given[key].place}: {key}: a warm start must lie in the space, "
            f"{parameters[key].describe()}; got {point[key]!r}"
            for key in outside
        ]
        point = completed(_applicable(point, given, parameters, newer, faults), parameters)
        if point and point not in points:
            points.append(point)
        held = {k: fixed[k] for k, e in settings.items() if k in fixed and e.value != fixed[k]}
        row, found = _read_row(given, point, held)
        rows += [row] if row else []
        faults += found
    return tuple(points), tuple(sorted(rows, key=lambda row: points.index(row.point))), notes


def _not_searched(layer: Layer, key: str, parameters: Mapping[str, Parameter]) -> str:
    if key in layer.fixed or key in layer.parameters:
        why = "fixed" if key in layer.fixed else "taken out (null)"
        return f"{key}: a warm start holds searched settings only, and this one is {why}; remove it"
    return unknown_key(key, list(parameters))


def _applicable(
    point: Point,
    given: Mapping[str, Entry],
    parameters: Mapping[str, Parameter],
    newer: frozenset[str],
    faults: list[Fault],
) -> Point:
    """The point without settings that apply no more because of what has changed since."""
    gone: set[str] = set()
    for key, parameter in parameters.items():
        fails = any(k in point and point[k] not in some for k, some in parameter.when.items())
        if parameter.when.keys() & gone or (fails and {key, *parameter.when} & newer):
            gone.add(key)
        elif fails and key in point:
            faults.append(
                f"{given[key].place}: {key}: does not apply at this point "
                f"(when: {parameter.to_plain()['when']}); remove it"
            )
    return {key: value for key, value in point.items() if key not in gone}


def _read_row(
    given: Mapping[str, Entry], point: Mapping[str, Any], held: Mapping[str, Any]
) -> tuple[Published | None, list[Fault]]:
    """What a space file says was published for a point, or None, and what is wrong with it.

    `given` is the point as it is written, `point` what is left of it. `held` are settings of it
    that this space fixes at another value: the row's text tells them.
    """
    figures = {key: entry for key, entry in given.items() if key.startswith(PREFIX)}
    faults = [
        f"{entry.place}: {key}: {fault}"
        for key, entry in figures.items()
        if (fault := _figure_fault(key, entry.value))
    ]
    first = next(iter(figures), "")
    if missing := ", ".join(key for key in _RULES if figures and key not in figures):
        text = f"figures are published together; add {missing}, or remove them all"
        faults.append(f"{figures[first].place}: {first}: {text}")
    if figures and len(figures) == len(given):
        faults.append(f"{figures[first].place}: {first}: belongs to no setting; add the point's")
    if faults or not figures or not point:
        return None, faults
    told = ", ".join(f"{key}={value}" for key, value in held.items())
    row = figures[f"{PREFIX}row"].value + (f" (here {told})" if told else "")
    scores = {name: float(figures[f"{PREFIX}{name}"].value) for name in FIGURES}
    return Published(dict(point), row=row, **scores), []


def _figure_fault(key: str, value: Any) -> str | None:
    if key not in _RULES:
        return f"unknown key; {meant(key.removeprefix(PREFIX), ('row', *FIGURES))}"
    if key == f"{PREFIX}row":
        fits = isinstance(value, str) and value.strip() and value.isprintable()
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number and 0 <= value <= 1
    return None if fits else f"{_RULES[key]}, got {value!r}"
