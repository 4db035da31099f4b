"""Trials that differ in post-processing alone: one is trained, the others only scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.run.as_records import TWIN
from orchestrator.space.nested import PREFIX


def training_part(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the weights."""
    return {key: value for key, value in params.items() if not key.startswith(PREFIX)}


def twin_of(
    number: int, params: Mapping[str, Any], trials: Iterable[FrozenTrial]
) -> FrozenTrial | None:
    """The earliest trial before `number` with the same training that has not failed."""
    part = training_part(params)
    for trial in trials:
        if trial.number >= number:
            return None
        trained = TWIN not in trial.user_attrs and trial.state is not OptunaState.FAIL
        if trained and training_part(trial.params) == part:
            return trial
    return None
