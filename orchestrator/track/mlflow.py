"""MLflow: an experiment for a search, a run for each trial."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# MLflow tells of every step of making its database, and asks for a Git client.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from orchestrator.run.run import Run
from orchestrator.trials.records import TrialRecord, TrialState

TRIAL = "trial"  # the tag that a run is known by
LONGEST = 500  # letters of a parameter or tag, of which MLflow refuses more
_STATUS = {
    TrialState.FINISHED: "FINISHED",
    TrialState.STOPPED: "FINISHED",  # as planned; the tag `state` tells them apart
    TrialState.FAILED: "FAILED",
}


def start(run: Run) -> MlflowTracker:
    """The tracker of a run."""
    return MlflowTracker(run.folder)


class MlflowTracker:
    """Runs in `mlflow.db` of the run folder, or on the server that MLFLOW_TRACKING_URI names.

    The experiment is named as the folder, or as MLFLOW_EXPERIMENT_NAME says.
    """

    def __init__(self, folder: Path) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        local = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(tracking_uri=given or local)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or folder.name
        found = self._client.get_experiment_by_name(name)
        artifacts = None if given else (folder / "mlflow-artifacts").resolve().as_uri()
        self._experiment = (
            self._client.create_experiment(name, artifact_location=artifacts)
            if found is None
            else found.experiment_id
        )
        self._folder = str(folder.resolve())
        self._runs: dict[str, str] = {}  # run by trial
        self._epochs: dict[str, int] = {}  # the last one that a run has

    def begin(self, trial: str, params: Mapping[str, Any]) -> None:
        """Start a trial's run, or find the one of an earlier session."""
        query = f"tags.{TRIAL} = '{trial}' and tags.folder = '{self._folder}'"
        found = self._client.search_runs([self._experiment], query)
        if found:
            run = found[0].info.run_id
            self._client.update_run(run, status="RUNNING")
            history = self._client.get_metric_history(run, "best_hmean")
            self._epochs[trial] = max((point.step for point in history), default=0)
        else:
            tags = {TRIAL: trial, "folder": self._folder}
            created = self._client.create_run(self._experiment, run_name=trial, tags=tags)
            run = created.info.run_id
            settings = [Param(key, str(value)[:LONGEST]) for key, value in params.items()]
            self._client.log_batch(run, params=settings)
        self._runs[trial] = run

    def log(self, trial: str, epoch: int, figures: Mapping[str, float]) -> None:
        """An epoch's figures; nothing for one that the run has already."""
        if epoch > self._epochs.get(trial, 0):
            self._epochs[trial] = epoch
            self._client.log_batch(self._runs[trial], metrics=_metrics(figures, epoch))

    def end(self, record: TrialRecord, figures: Mapping[str, float]) -> None:
        run = self._runs.pop(record.trial)
        tags = {"state": record.state.value, "reason": record.reason}
        self._client.log_batch(
            run,
            metrics=_metrics(figures, record.epochs),
            tags=[RunTag(key, value[:LONGEST]) for key, value in tags.items() if value],
        )
        self._client.set_terminated(run, _STATUS[record.state])

    def close(self) -> None:
        """Mark the runs of trials that are not over as waiting."""
        for run in self._runs.values():
            self._client.update_run(run, status="SCHEDULED")


def _metrics(figures: Mapping[str, float], epoch: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, epoch) for name, value in figures.items()]
