"""Between Ray Tune and what this project decides and shows: the one owner of Tune's events.

Tune takes an exception out of a searcher or a callback for the failure of a trial, or hides it in
an error of its own. Here the first one is kept, nothing more is done, and it is raised at Tune's
next step, as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.tune import Callback
from ray.tune.search import Searcher

from orchestrator.execute.trial import REPORT
from orchestrator.propose.jobs import Jobs
from orchestrator.trials.failure import Failure, Kind
from orchestrator.trials.job import Choose, Listener, TrialJob, anywhere
from orchestrator.trials.records import METRIC

UNKNOWN = Failure(Kind.LOST_WORKER, "nothing is known of it")


class Keeper(Protocol):
    """What keeps a run elsewhere too, see `orchestrator.run.bucket_run`."""

    def get_trial(self, folder: Path, *, whole: bool) -> None:
        """Get what a trial has written, before others look at it."""

    def put_study(self) -> None:
        """Put what the study knows now."""


def kept(event: Callable[..., Any]) -> Callable[..., Any]:
    """What an event of a Bridge raises is kept; after that no other is of use, nor is it tried."""

    @wraps(event)
    def guarded(bridge: Bridge, *arguments: Any, **named: Any) -> Any:
        if bridge.error is None:
            try:
                return event(bridge, *arguments, **named)
            except Exception as error:
                bridge.error = error
        return None

    return guarded


@dataclass
class _Given:
    """A job that Tune has: its trial once a worker has it, the last epoch told, why it is lost."""

    job: TrialJob
    trial: Any = None
    epoch: int | None = None
    failure: Failure | None = None


class Bridge(Searcher):
    """Gives Tune one job after another, and tells the jobs and the listeners what becomes of each.

    A run that has a keeper is kept before anybody is told.
    """

    def __init__(
        self,
        jobs: Jobs,
        listeners: Sequence[Listener],
        keeper: Keeper | None,
        choose: Choose = anywhere,
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._jobs, self._listeners, self._keeper = jobs, list(listeners), keeper
        self._choose = choose
        self._given: dict[str, _Given] = {}  # by Tune's trial id
        self.error: Exception | None = None  # the first one
        self._idle_since: float | None = None

    def add(self, listener: Listener) -> None:
        """Tell one more listener."""
        self._listeners.append(listener)

    def raise_error(self) -> None:
        """Raise what was kept, if anything was."""
        if self.error is not None:
            raise self.error

    def step(self) -> None:
        """Tune is about to look for something to do, which it does several times a second."""
        self.raise_error()
        for listener in self._listeners:
            listener.step()

    @property
    def idle_s(self) -> float:
        """For how long Tune could have had another job, and there was none."""
        return 0.0 if self._idle_since is None else time.monotonic() - self._idle_since

    def suggest(self, trial_id: str) -> Any:
        """The next job as Tune's config, see `as_trainable`; None while there is none."""
        job = self._next_job()
        if job is not None:
            self._idle_since = None
            self._given[trial_id] = _Given(job)
            return {"job": job}
        self._idle_since = time.monotonic() if self._idle_since is None else self._idle_since
        # With nothing running Tune takes no further step, which would raise the error.
        return None if self._given and self.error is None else Searcher.FINISHED

    @kept
    def _next_job(self) -> TrialJob | None:
        job = self._jobs.next_job(self._choose)
        if job is not None:
            self._tell("given", job)
        return job

    @kept
    def started(self, trial: Any) -> None:
        """A worker has the job of Tune's `trial`."""
        given = self._given[trial.trial_id]
        given.trial = trial
        self._put_study()  # a resumed search must know what a folder was begun with
        self._tell("started", given.job)

    @kept
    def is_hopeless(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether to stop a job with this result."""
        given, report = self._given[trial_id], report_of(result)
        return bool(report) and self._jobs.is_hopeless(given.job, report)

    @kept
    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A job has reported."""
        given, report = self._given[trial_id], report_of(result)
        if not report:
            self._tell("alive", given.job)
            return
        self._get_trial(given.job, whole=False)
        self._jobs.reported(given.job, report)
        self._put_study()
        self._tell_epoch(given, report)

    @kept
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The job is over by itself, with its last report, or its worker was lost."""
        given, report = self._given[trial_id], report_of(result or {})
        self._get_trial(given.job, whole=True)
        if error:
            self._jobs.lost(given.job, given.failure or UNKNOWN)
        else:
            self._jobs.ended(given.job, report)
        self._put_study()
        self._tell_epoch(given, report)  # a scheduler that stops it hides the last one
        del self._given[trial_id]
        self._tell("lost" if error else "ended", given.job)

    def explain(self, trial_id: str, failure: Failure) -> None:
        """Say why a worker was lost, before Tune does (it only says that it was).

        The first to say so is right: who ends a worker knows why, the others see that it is gone.
        """
        given = self._given[trial_id]
        given.failure = given.failure or failure

    def end_worker(self, job: TrialJob, failure: Failure) -> None:
        """End the worker of a running job, whose failure this is."""
        trial = next(g.trial for g in self._given.values() if g.job is job)
        if trial.temporary_state.ray_actor is not None:  # else it is on its way out by itself
            self.explain(trial.trial_id, failure)
            ray.kill(trial.temporary_state.ray_actor)

    def _tell_epoch(self, given: _Given, report: Mapping[str, Any]) -> None:
        """Tell of a finished epoch, once."""
        if METRIC in report and report["epoch"] != given.epoch:
            given.epoch = report["epoch"]
            self._tell("reported", given.job, report)

    def _get_trial(self, job: TrialJob, *, whole: bool) -> None:
        if self._keeper is not None:
            self._keeper.get_trial(job.folder, whole=whole)

    def _put_study(self) -> None:
        if self._keeper is not None:
            self._keeper.put_study()

    def _tell(self, event: str, *what: Any) -> None:
        for listener in self._listeners:
            getattr(listener, event)(*what)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study's database has everything already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore (see `save`)."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is not used; a database cannot be."""
        return {}


def report_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's own report in a result of Tune's; empty where it has made none."""
    (report,) = result.get(REPORT) or [{}]
    return dict(report)


class Steps(Callback):
    """What Tune tells callbacks alone."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def on_step_begin(self, **_: Any) -> None:  # type: ignore[override]
        self._bridge.step()

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        self._bridge.started(trial)

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Drop what Tune keeps of the reports of a job that is over, which the study has.

        It is half of what the driver's memory grows by in a search of many trials.
        """
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()
        trial.last_result.pop(REPORT, None)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that is not used; a terminal cannot be."""
        return {}
