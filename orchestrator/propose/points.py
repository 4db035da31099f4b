"""Points of a space: drawn, changed a little, and as numbers whose distances mean something."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.space.parameters import Parameter

Point = dict[str, Any]
Array = NDArray[np.float64]

NEAR = 0.1  # standard deviation of a small change, in lengths of the range


def identity(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A point as a key: equal for equal settings, whatever their order."""
    return tuple(sorted(point.items(), key=lambda item: item[0]))


def drawn(
    parameters: Sequence[Parameter], rng: np.random.Generator, given: Mapping[str, Any]
) -> Point:
    """A random point with the values that are given, where they are the space's.

    Only settings that apply have one.
    """
    point: Point = {}
    for parameter in parameters:
        if parameter.applies(point):
            key = parameter.key
            is_given = key in given and parameter.contains(given[key])
            point[key] = given[key] if is_given else _value(parameter, rng.random())
    return point


def changed(
    parameters: Sequence[Parameter],
    rng: np.random.Generator,
    point: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Point:
    """The point with another value of one or two settings, a near one where they are ranges."""
    open_ = [p for p in parameters if p.key in point and p.key not in given and _is_open(p)]
    kept = dict(point) | dict(given)
    for index in rng.permutation(len(open_))[: rng.integers(1, 3)]:
        parameter = open_[index]
        kept[parameter.key] = _other(parameter, rng, point[parameter.key])
    return drawn(parameters, rng, kept)


def as_numbers(parameters: Sequence[Parameter], points: Sequence[Mapping[str, Any]]) -> list[Array]:
    """An array `(N, d)` of N points for each setting that has more than one value.

    Its rows are 1 apart at the ends of a range, as the numbers among which to choose are spread
    over one in their order. Any two other choices are 1 apart. A point where the setting does not
    apply lies between those where it does.
    """
    return [
        np.array([_numbers(parameter, point) for point in points], np.float64)
        for parameter in parameters
        if _is_open(parameter)
    ]


def _is_open(parameter: Parameter) -> bool:
    return parameter.kind != "choice" or len(parameter.values) > 1


def _numbers(parameter: Parameter, point: Mapping[str, Any]) -> list[float]:
    there = parameter.key in point
    if parameter.kind != "choice" or _is_numeric(parameter):
        return [_share(parameter, point[parameter.key]), 0.0] if there else [0.5, 0.5]
    side = math.sqrt(0.5)
    return [side * (there and point[parameter.key] == value) for value in parameter.values]


def _is_numeric(parameter: Parameter) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in parameter.values)


def _share(parameter: Parameter, value: Any) -> float:
    """Where a value lies between the ends, 0 to 1."""
    if parameter.kind == "choice":
        places = np.linspace(0, 1, len(parameter.values))
        return float(np.interp(value, sorted(parameter.values), places))
    low, high = parameter.values
    if parameter.kind == "log_uniform":
        low, high, value = math.log(low), math.log(high), math.log(value)
    return float((value - low) / (high - low))


def _value(parameter: Parameter, share: float) -> Any:
    """The value at a share of the way between the ends; of choices and of `int`, share < 1."""
    if parameter.kind == "choice":
        return parameter.values[int(share * len(parameter.values))]
    low, high = parameter.values
    if parameter.kind == "int":
        return low + parameter.step * int(share * ((high - low) // parameter.step + 1))
    if parameter.kind == "log_uniform":
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    return min(max(value, low), high)


def _other(parameter: Parameter, rng: np.random.Generator, value: Any) -> Any:
    """Another choice, or a value near by."""
    if parameter.kind == "choice":
        others = [other for other in parameter.values if other != value]
        return others[rng.integers(len(others))]
    share = abs(_share(parameter, value) + NEAR * rng.standard_normal()) % 2
    share = min(share, 2 - share)  # ends reflect
    if parameter.kind == "int":
        low, high = parameter.values
        return low + parameter.step * round(share * (high - low) / parameter.step)
    return _value(parameter, share)
