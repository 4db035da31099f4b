"""The trials of which none is better in everything: the best trade-offs of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detector.errors import InputError
from orchestrator.trials.records import TrialRecord, TrialState

Objectives = Sequence[tuple[str, Literal["max", "min"]]]

WAYS: dict[str, Literal["max", "min"]] = {
    "hmean": "max",
    "tuned_hmean": "max",
    "crossfit_hmean": "max",
    "iou_hmean": "max",
    "params_m": "min",
    "latency_ms": "min",
}
FIGURES = tuple(WAYS)
SCORE_AND_SIZE: Objectives = (("hmean", "max"), ("params_m", "min"))


def front(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """The finished trials that no other one dominates, in the order of `records`.

    A trial dominates another when it is at least as good in every figure and better in one
    (Pareto, "Manuale di economia politica", 1906), so trials with equal figures are on the
    front together. Objectives are fields of TrialRecord (FIGURES) with "max" where more is
    better, "min" where less is. A trial that lacks a figure is not on the front and dominates
    none. Raises InputError without objectives, or for one that does not exist.
    """
    _check(objectives)
    complete = [
        record
        for record in records
        if record.state is TrialState.FINISHED
        and all(_known(getattr(record, figure)) for figure, _ in objectives)
    ]
    points = np.array(
        [
            [getattr(record, figure) * (1 if way == "max" else -1) for figure, way in objectives]
            for record in complete
        ]
    ).reshape(len(complete), len(objectives))
    return [record for record, kept in zip(complete, _undominated(points), strict=True) if kept]


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


def _known(figure: float | None) -> bool:
    return figure is not None and math.isfinite(figure)


def _undominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of `(N, K)` points, larger is better, no other dominates: `(N,)`."""
    kept = np.ones(len(points), bool)
    for index in range(len(points)):
        # What dominates a point that is out already dominates the same others.
        if kept[index]:
            no_better = (points <= points[index]).all(axis=1)
            kept &= ~(no_better & (points < points[index]).any(axis=1))
    return kept
