"""Runs and sessions of them for tests, without the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.trial import TrialState as OptunaState

from orchestrator.config.limits import Limits, Spending, Watch
from orchestrator.config.settings import SearchConfig
from orchestrator.execute.session import Session
from orchestrator.execute.trial import TrialFunction
from orchestrator.place.resources import TrialResources
from orchestrator.run.as_records import LATEST, PAUSED, REASON
from orchestrator.run.run import Run
from orchestrator.run.study import open_study
from orchestrator.space.search_space import SearchSpace
from orchestrator.store.storage import storage_url


def make_run(folder: Path, space: SearchSpace, *, resume: bool = True, **settings: Any) -> Run:
    """The run of a space in a folder, with a study in it, made if it is not there."""
    config = SearchConfig(space="test", **settings)
    study = open_study(storage_url(folder, None), "run", resume=resume)
    return Run(folder, config, space, study)


def session_of(
    run: Run, trial: TrialFunction, *, gpus: float = 0.0, concurrent: int | None = 2
) -> Session:
    """A session without limits whose trials reserve a core each."""
    watch = Watch(Limits(), lambda: Spending(0, 0.0, 0), gpus=gpus)
    return Session(run, trial, TrialResources(1, gpus, concurrent), watch)


def add_trial(run: Run, state: OptunaState, hmean: float | None, **latest: Any) -> None:
    """A trial that reported this H-mean in its last epoch; RUNNING is one that was paused there.

    `latest` has more of its last report, and `reason` says why it failed.
    """
    reason, epoch = latest.pop("reason", None), latest.get("epoch", 1)
    number = run.study.begin({}, {}).number
    if hmean is not None:
        run.study.note(number, **{LATEST: {"best_hmean": hmean, "epoch": epoch, **latest}})
        run.study.report(number, epoch, hmean)
    if reason is not None:
        run.study.note(number, **{REASON: reason})
    if state is OptunaState.RUNNING:
        run.study.note(number, **{PAUSED: epoch})
    else:
        run.study.end(number, state)
