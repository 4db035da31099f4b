"""MLflow and Weights & Biases: one run of a tracker for each trial, with a step for each epoch.

Ray has callbacks for both, which make a run for each Tune trial. Here these are jobs, and a trial
is several of them, from rung to rung (see `orchestrator.execute.tuner`), so the listener here
stands between: it knows a trial by its number, keeps its run open while it is paused and ends it
with the trial. Nothing leaves the machine unless the user has set that up in the tracker's own
environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from detector.core.errors import InputError
from detector.training.monitor import curves
from orchestrator.config.tracker_names import not_installed
from orchestrator.run.as_records import trial_id
from orchestrator.run.run import Run
from orchestrator.track.tensorboard import METRICS
from orchestrator.trials.job import Listener, TrialJob
from orchestrator.trials.records import METRIC, TrialRecord


class Tracker(Protocol):
    """A tracker's client. `begin` is called before anything else of a trial, and once a session.

    What is sent again, as after a crash, must not show twice.
    """

    def begin(self, trial: str, params: Mapping[str, Any]) -> None: ...

    def log(self, trial: str, epoch: int, figures: Mapping[str, float]) -> None: ...

    def end(self, record: TrialRecord, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


@contextmanager
def tracking(run: Run, say: Callable[[str], None]) -> Iterator[list[Listener]]:
    """Listeners that tell the trackers that the settings name about a run's trials.

    At the end the runs of all trials that are over are ended; those of others go on in a later
    session. Raises InputError for a tracker that is not installed or cannot be started.
    """
    names = run.config.track
    if faults := not_installed(names):
        raise InputError("\n".join(faults))
    trackers: dict[str, Tracker] = {name: _start(name, run) for name in names}
    if not trackers:
        yield []
        return
    told = Tracking(trackers, run, say)
    try:
        yield [told]
    finally:
        told.close()


def _start(name: str, run: Run) -> Tracker:
    """The `start` of the module of this name here."""
    try:
        started: Tracker = import_module(f"orchestrator.track.{name}").start(run)
    except Exception as error:
        raise InputError(
            f"track: {name} cannot be started: {_line(error)}; mend that, or leave it out"
        ) from error
    return started


class Tracking(Listener):
    """Tells trackers what trials report, and how they end.

    A tracker that fails is left out from there on: it must not end a search.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker], run: Run, say: Callable[[str], None]
    ) -> None:
        self._trackers, self._run, self._say = dict(trackers), run, say
        self._begun: set[str] = set()
        self._ended = {record.trial for record in run.records() if record.state.is_over}

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """A step of the trial's run."""
        name = trial_id(job.number)
        values = {k: v for k, v in report.items() if isinstance(v, int | float)}
        figures = curves(values) | {METRIC: float(report[METRIC])}
        self._begin(name, job.params)
        self._all(lambda tracker: tracker.log(name, int(report["epoch"]), figures))

    def ended(self, job: TrialJob) -> None:  # noqa: ARG002
        """Perhaps the end of its run."""
        self._end()

    lost = ended

    def close(self) -> None:
        """End the runs of trials that are over, and release the trackers."""
        self._end()
        self._all(lambda tracker: tracker.close())

    def _begin(self, name: str, params: Mapping[str, Any]) -> None:
        if name not in self._begun:
            self._begun.add(name)
            self._all(lambda tracker: tracker.begin(name, params))

    def _end(self) -> None:
        over = [r for r in self._run.records() if r.state.is_over]
        for record in (r for r in over if r.trial not in self._ended):
            self._ended.add(record.trial)
            self._begin(record.trial, record.params)
            self._all(partial(_end, record))

    def _all(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:
                del self._trackers[name]
                self._say(
                    f"{name}: {_line(error)}; this session tells it nothing more, and the run "
                    "folder has everything"
                )


def _end(record: TrialRecord, tracker: Tracker) -> None:
    found = {f"final/{name}": getattr(record, name) for name in METRICS}
    tracker.end(record, {name: value for name, value in found.items() if value is not None})


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
