"""Searching a part of a space: `search.narrow.KEY=[...]` on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.config.keys import unknown_key
from orchestrator.space.layers import COMMAND_LINE, Fault, Layer
from orchestrator.space.parameters import Parameter
from orchestrator.space.values import DEFAULTS, absolute, read_one


def narrowed(layer: Layer, narrow: Mapping[str, Any]) -> tuple[Layer, list[Fault]]:
    """The layer with less to search, and what is wrong with the wishes.

    A wish, by dotted name, is a choice or several of a setting's choices, or [low, high] inside
    its range. Numbers may be text, as they come from a command line.
    """
    parameters: dict[str, Parameter] = {}
    faults: list[Fault] = []
    for key, wish in narrow.items():
        parameter = layer.parameters.get(key)
        if parameter is None:
            found = [_not_searched(layer, key)]
        elif parameter.kind == "choice":
            parameters[key], found = _fewer(layer, parameter, _listed(wish))
        else:
            parameters[key], found = _shorter(parameter, _listed(wish))
        faults += [f"{COMMAND_LINE}: search.narrow.{key}: {text}" for text in found]
    if faults or not parameters:
        return layer, faults
    return replace(layer.outdated_by(parameters), parameters=layer.parameters | parameters), faults


def _listed(wish: Any) -> list[Any]:
    return wish if isinstance(wish, list) else [wish]


def _not_searched(layer: Layer, key: str) -> str:
    """Why a setting cannot be narrowed, and which ones can."""
    searched = f"searched are {', '.join(layer.parameters)}"
    if key not in layer.settled and key not in DEFAULTS:
        return unknown_key(key, list(layer.parameters)).removeprefix(f"{key}: ")
    if key not in layer.settled:
        return f"is not searched in this space: it is {DEFAULTS[key]} by default; {searched}"
    value, place = layer.settled[key], layer.origin.get(("fixed", key))
    if place == COMMAND_LINE:
        return f"{key}={value} fixes it for every trial; give one of the two"
    where = "" if place is None else f" ({place})"
    return f"is not searched in this space: it is fixed to {value}{where}; {searched}"


def _fewer(layer: Layer, parameter: Parameter, wish: Sequence[Any]) -> tuple[Parameter, list[str]]:
    """The wished ones of a setting's choices, in the space's order."""

    def read(value: Any) -> str:
        return str(absolute(parameter.key, read_one(layer.settled, parameter.key, value)))

    choices = {read(value): value for value in parameter.values}
    wished = [read(value) for value in wish]
    text = ", ".join(map(str, parameter.values))
    if not wish:
        return parameter, [f"an empty list leaves nothing to search; choose from {text}"]
    faults = [
        f"{value} is not among this space's choices; choose from {text}"
        for value, name in zip(wish, wished, strict=True)
        if name not in choices
    ]
    kept = tuple(value for name, value in choices.items() if name in wished)
    return replace(parameter, values=kept), faults


def _shorter(parameter: Parameter, wish: Sequence[Any]) -> tuple[Parameter, list[str]]:
    """The setting's range cut to [low, high]."""
    low, high = parameter.values
    inside = f"give [low, high] inside {parameter.describe()}"
    ends = [number for value in wish if (number := _number(value)) is not None]
    if len(wish) != 2 or len(ends) != 2:
        hold = (
            f"; to hold it at one value, give {parameter.key}={wish[0]}" if len(wish) == 1 else ""
        )
        return parameter, [f"needs two numbers, got {_text(wish)}; {inside}{hold}"]
    first, last = ends
    if not first < last:
        return parameter, [f"needs low < high, got {_text(wish)}; {inside}"]
    if first < low or last > high:
        return parameter, [f"{_text(wish)} is not all in this space; {inside}"]
    if parameter.kind == "int":
        faults = [
            f"{end} is not reached from {low} in steps of {parameter.step}; "
            f"near it are {below} and {below + parameter.step}"
            for end in ends
            if not parameter.contains(end)
            for below in [int(end - (end - low) % parameter.step)]
        ]
        if faults:
            return parameter, faults
        ends = [int(end) for end in ends]
    return replace(parameter, values=tuple(ends)), []


def _number(value: Any) -> float | int | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(wish: Sequence[Any]) -> str:
    return f"[{', '.join(map(str, wish))}]"
