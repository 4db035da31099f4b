"""What trials are better by, and those of which none is better in everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from pkgutil import resolve_name
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.core.errors import InputError
from orchestrator.trials.records import TrialRecord, TrialState

Way = Literal["max", "min"]
Objectives = Sequence[tuple[str, Way]]


class Objective(NamedTuple):
    """What a trial may be better by: which way, what tables call it, and its value."""

    way: Way
    title: str
    value: Callable[[TrialRecord], float | None]


def of_file(name: str) -> Callable[[TrialRecord], float | None]:
    """`FILE.FUNCTION` of this room: named, not imported, so that a new one is one line below."""
    function: Callable[[TrialRecord], float | None] = resolve_name(f"orchestrator.trials.{name}")
    return function


OBJECTIVES = {
    "hmean": Objective("max", "H-mean", attrgetter("hmean")),
    "tuned_hmean": Objective("max", "tuned H-mean", attrgetter("tuned_hmean")),
    "crossfit_hmean": Objective("max", "cross-fitted H-mean", attrgetter("crossfit_hmean")),
    "iou_hmean": Objective("max", "IoU H-mean", attrgetter("iou_hmean")),
    "tail_hmean": Objective("max", "H-mean of the worst pages", of_file("tail.tail_hmean")),
    "params_m": Objective("min", "million weights", attrgetter("params_m")),
    "latency_ms": Objective("min", "ms a page", attrgetter("latency_ms")),
}
WAYS = {name: objective.way for name, objective in OBJECTIVES.items()}
FIGURES = tuple(OBJECTIVES)
SCORE_AND_SIZE: Objectives = (("hmean", "max"), ("params_m", "min"))


def value_of(record: TrialRecord, name: str) -> float | None:
    """A trial's value of an objective; None where it is not known, or not a finite number."""
    value = OBJECTIVES[name].value(record)
    return value if value is not None and math.isfinite(value) else None


def front(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """The finished trials that no other one dominates, in the order of `records`.

    A trial dominates another when it is at least as good in every figure and better in one
    (Pareto, "Manuale di economia politica", 1906), so trials with equal figures are on the
    front together. A trial that lacks a figure is not on the front and dominates none. Raises
    InputError without objectives, or for one that is not in OBJECTIVES.
    """
    _check(objectives)
    signs = [1 if way == "max" else -1 for _, way in objectives]
    known, points = [], []
    for record in records:
        values = [value_of(record, figure) for figure, _ in objectives]
        if record.state is TrialState.FINISHED and None not in values:
            known.append(record)
            points.append(values)
    signed = np.array(points, dtype=float).reshape(len(known), len(objectives)) * signs
    return [record for record, kept in zip(known, _undominated(signed), strict=True) if kept]


def as_objectives(figures: Sequence[str]) -> Objectives:
    """Figures with the way that is better for each; InputError for one that does not exist."""
    objectives = tuple((figure, WAYS.get(figure, "max")) for figure in figures)
    _check(objectives)
    return objectives


def fronts(points: NDArray[np.float64]) -> NDArray[np.int_]:
    """The front that each of `(N, K)` points is on, larger is better: `(N,)`, 0 for the first.

    The second front is the first one of what is left without those on the first, and so on.
    """
    layers = np.zeros(len(points), int)
    left = np.arange(len(points))
    while len(left):
        kept = _undominated(points[left])
        left = left[~kept]
        layers[left] += 1
    return layers


def _check(objectives: Objectives) -> None:
    if not objectives:
        raise InputError(f"objectives: name at least one of {', '.join(FIGURES)}")
    for figure, way in objectives:
        if figure not in FIGURES:
            raise InputError(
                f"objectives: must be figures out of {', '.join(FIGURES)}, got {figure!r}"
            )
        if way not in ("max", "min"):
            raise InputError(f"objectives: {figure} must be 'max' or 'min', got {way!r}")


def _undominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of `(N, K)` points, larger is better, no other dominates: `(N,)`."""
    kept = np.ones(len(points), bool)
    for index in range(len(points)):
        # What dominates a point that is out already dominates the same others.
        if kept[index]:
            no_better = (points <= points[index]).all(axis=1)
            kept &= ~(no_better & (points < points[index]).any(axis=1))
    return kept
