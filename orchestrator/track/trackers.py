"""MLflow and Weights & Biases: one run of a tracker for each trial, with a step for each epoch.

Ray has callbacks for both, which make a run for each Tune trial. Here these are jobs, and a trial
is several of them, from rung to rung (see `orchestrator.execute.tuner`), so the callback here
stands between: it knows a trial by its number, keeps its run open while it is paused and ends it
with the trial. Nothing leaves the machine unless the user has set that up in the tracker's own
environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import optuna
from ray.tune import Callback

from detector.errors import InputError
from detector.monitor import curves
from orchestrator.config.tracker_names import not_installed
from orchestrator.run import study as store
from orchestrator.track.tensorboard import METRICS
from orchestrator.trials.records import METRIC, TrialRecord, TrialState

OVER = (TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED)


class Tracker(Protocol):
    """A tracker's client. `begin` is called before anything else of a trial, and once a session.

    What is sent again, as after a crash, must not show twice.
    """

    def begin(self, trial: str, params: Mapping[str, Any]) -> None: ...

    def log(self, trial: str, epoch: int, figures: Mapping[str, float]) -> None: ...

    def end(self, record: TrialRecord, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


@contextmanager
def tracking(
    names: Sequence[str], study: optuna.Study, folder: Path, say: Callable[[str], None]
) -> Iterator[list[Callback]]:
    """Callbacks for Tune that tell the trackers of these names about a run's trials.

    `folder` is the run's. At the end the runs of all trials that are over are ended; those of
    others go on in a later session. Raises InputError for a tracker that is not installed or
    cannot be started.
    """
    if faults := not_installed(names):
        raise InputError("\n".join(faults))
    trackers = {name: _start(name, study, folder) for name in names}
    if not trackers:
        yield []
        return
    callback = Tracking(trackers, study, say)
    try:
        yield [callback]
    finally:
        callback.close()


def _start(name: str, study: optuna.Study, folder: Path) -> Tracker:
    try:
        if name == "mlflow":
            from orchestrator.track.mlflow import MlflowTracker

            return MlflowTracker(folder)
        from orchestrator.track.wandb import WandbTracker

        return WandbTracker(folder, study)
    except Exception as error:
        raise InputError(
            f"track: {name} cannot be started: {_line(error)}; mend that, or leave it out"
        ) from error


class Tracking(Callback):
    """Tells trackers what trials report, and how they end.

    A tracker that fails is left out from there on: it must not end a search.
    """

    def __init__(
        self, trackers: Mapping[str, Tracker], study: optuna.Study, say: Callable[[str], None]
    ) -> None:
        self._trackers, self._study, self._say = dict(trackers), study, say
        over = [r.trial for r in store.read_records(study) if r.state in OVER]
        self._begun: set[str] = set()
        self._ended = set(over)

    def on_trial_result(  # type: ignore[override]
        self, *, trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        if result.get(METRIC) is None:
            return
        name = store.trial_id(trial.config["number"])
        values = {k: v for k, v in result.items() if isinstance(v, int | float)}
        figures = curves(values) | {METRIC: float(result[METRIC])}
        self._begin(name, trial.config["params"])
        self._all(lambda tracker: tracker.log(name, int(result["epoch"]), figures))

    def on_trial_complete(self, **_: Any) -> None:  # type: ignore[override]
        self._end()

    def on_trial_error(self, **_: Any) -> None:  # type: ignore[override]
        self._end()

    def close(self) -> None:
        """End the runs of trials that are over, and release the trackers."""
        self._end()
        self._all(lambda tracker: tracker.close())

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that is not used; a client cannot be."""
        return {}

    def _begin(self, name: str, params: Mapping[str, Any]) -> None:
        if name not in self._begun:
            self._begun.add(name)
            self._all(lambda tracker: tracker.begin(name, params))

    def _end(self) -> None:
        over = [r for r in store.read_records(self._study) if r.state in OVER]
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
