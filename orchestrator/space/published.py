"""The points of a space that run first, and the scores that others published for them.

In a space file these stand with the point that they belong to, under keys that are no settings:
`published.row` (which result this is, in a few words), `published.hmean`,
`published.precision` and `published.recall`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import field_validator

from detector.settings import Section
from orchestrator.config.keys import unknown_key
from orchestrator.space.layers import COMMAND_LINE, Entry, Fault, Layer
from orchestrator.space.parameters import Parameter
from orchestrator.space.values import read_value, validated

PREFIX = "published."
FIGURES = ("hmean", "precision", "recall")
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


class _Row(Section):
    """The keys `published.*` of a point."""

    row: str
    hmean: float
    precision: float
    recall: float

    @field_validator("row", mode="before")
    @classmethod
    def _check_row(cls, row: Any) -> Any:
        if not isinstance(row, str) or not row.strip() or not row.isprintable():
            raise ValueError("must be a line of text that says what was published")
        return row

    @field_validator(*FIGURES, mode="before")
    @classmethod
    def _check_score(cls, score: Any) -> Any:
        is_number = isinstance(score, int | float) and not isinstance(score, bool)
        if not is_number or not 0 <= score <= 1:
            raise ValueError("must be a score from 0 to 1 (per cent divided by 100)")
        return score


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
        point = _applicable(point, given, parameters, newer, faults)
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
    figures = {k.removeprefix(PREFIX): entry for k, entry in given.items() if k.startswith(PREFIX)}
    if not figures:
        return None, []
    first = next(iter(figures.values())).place
    faults = []
    if len(figures) == len(given):
        faults.append(f"{first}: {next(iter(given))}: belongs to no setting; add the point's")
    row, found = validated(_Row, {name: entry.value for name, entry in figures.items()})
    for name, text in found:
        entry = figures.get(name)
        faults.append(f"{entry.place if entry else first}: {PREFIX}{text}")
        if entry is None:
            faults[-1] += "; figures are published together: add it, or remove them all"
    if row is None or faults or not point:
        return None, faults
    told = ", ".join(f"{key}={value}" for key, value in held.items())
    text = row.row + (f" (here {told})" if told else "")
    return Published(dict(point), row.hmean, row.precision, row.recall, text), []
