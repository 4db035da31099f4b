"""What trials are good for beside the H-mean, where that is not all that is sought."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial

from orchestrator.run.as_records import FIGURES
from orchestrator.trials.pareto import Objectives, value_of
from orchestrator.trials.records import TrialRecord


def figures(record: TrialRecord, objectives: Objectives) -> dict[str, float | None]:
    """The objectives as they are now."""
    return {name: value_of(record, name) for name, _ in objectives}


def others(
    trial: FrozenTrial, record: TrialRecord, objectives: Objectives
) -> dict[int, tuple[float, ...]]:
    """What counts beside the H-mean by epoch, larger is better; an unknown figure is worst."""
    ways = [(name, way) for name, way in objectives if name != "hmean"]
    if not ways or not trial.intermediate_values:
        return {}
    newest = {max(trial.intermediate_values): figures(record, objectives)}  # of an older run
    return {
        int(epoch): tuple(
            -math.inf if known.get(name) is None else known[name] * (1 if way == "max" else -1)
            for name, way in ways
        )
        for epoch, known in trial.user_attrs.get(FIGURES, newest).items()
    }
