"""Trials that differ in what is done with weights alone: one is trained, the others scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from detector.config.settings import is_afterwards
from orchestrator.run.as_records import LATEST, TWIN, trial_id
from orchestrator.run.run import Run
from orchestrator.trials.job import Twin


def training_part(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the weights."""
    return {key: value for key, value in params.items() if not is_afterwards(key)}


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


@dataclass(frozen=True)
class Twins:
    """The trials of a run whose weights others have too."""

    run: Run

    def of(self, number: int) -> FrozenTrial | None:
        """The trial whose weights are those of this one, while they are kept."""
        study = self.run.study
        gone = set(study.weights_deleted)
        kept = (trial for trial in study.trials if trial_id(trial.number) not in gone)
        return twin_of(number, study.trial(number).params, kept)

    def waited_for(self, number: int) -> int | None:
        """The trial whose weights a trial needs, if it needs no training and they are not ready."""
        twin = self.of(number)
        return None if twin is None or twin.state.is_finished() else twin.number

    def weights(self, twin: FrozenTrial) -> Twin:
        """Those of a trial, for a job."""
        latest = twin.user_attrs.get(LATEST, {})
        return Twin(
            source=self.run.trial_folder(twin.number),
            epochs=int(latest["epoch"]),
            best_epoch=int(latest.get("best_epoch", latest["epoch"])),
            finished=twin.state is OptunaState.COMPLETE,
        )
