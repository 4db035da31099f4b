"""Weights & Biases: a group for a search, a run for each trial."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from orchestrator.run.run import Run
from orchestrator.run.study import Study
from orchestrator.trials.records import TrialRecord, TrialState

PROJECT = "receipt-orchestrator"  # where WANDB_PROJECT names none


def start(run: Run) -> WandbTracker:
    """The tracker of a run."""
    return WandbTracker(run.folder, run.study)


class WandbTracker:
    """Runs in `wandb/` of the run folder, for `wandb sync`; WANDB_MODE=online sends them at once.

    WANDB_PROJECT, WANDB_ENTITY, WANDB_DIR and WANDB_API_KEY hold where they are set.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self._folder, self._study = folder.resolve(), study
        self._mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._runs: dict[str, Any] = {}
        # The driver's own machine load and code are not the trial's.
        self._settings = wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
        )

    def begin(self, trial: str, params: Mapping[str, Any]) -> None:
        """Open a trial's run; a later session opens the same one again, by its id."""
        self._runs[trial] = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=self._folder.name,
            name=trial,
            id=self._id(trial),
            dir=os.environ.get("WANDB_DIR", str(self._folder)),
            config=dict(params),
            mode=self._mode,
            resume="allow" if self._mode == "online" else None,
            reinit="create_new",  # trials run at the same time
            settings=self._settings,
        )

    def log(self, trial: str, epoch: int, figures: Mapping[str, float]) -> None:
        """An epoch's figures; W&B itself leaves out steps that a run has."""
        self._runs[trial].log(dict(figures), step=epoch)

    def end(self, record: TrialRecord, figures: Mapping[str, float]) -> None:
        run = self._runs.pop(record.trial)
        run.summary.update(dict(figures) | {"state": record.state.value})
        if record.reason:
            run.summary["reason"] = record.reason
        run.finish(exit_code=int(record.state is TrialState.FAILED))

    def close(self) -> None:
        """Close the runs of trials that are not over, without an end."""
        for run in self._runs.values():
            run.finish()

    def _id(self, trial: str) -> str:
        """The same in every session, and another for another run of this name."""
        started = self._study.trial(int(trial)).datetime_start
        when = "" if started is None else f"{started:%Y%m%d%H%M%S}"
        return re.sub(r"[^A-Za-z0-9_-]", "-", f"{self._folder.name[:60]}-{trial}-{when}")
