"""A trial that reports nothing for too long fails, and its worker is ended for the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.tune import Callback

from orchestrator.propose.job_searcher import JobSearcher
from orchestrator.trials.failure import Failure, Kind


class HangWatch(Callback):
    """Ends the worker of a job that has reported nothing for `minutes`, and says why.

    It looks from outside, since a process that hangs in a driver or a file system may run none of
    its own code. The time begins when the worker has the job, and again with each report.
    """

    def __init__(
        self, minutes: float, searcher: JobSearcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._minutes, self._searcher, self._clock = minutes, searcher, clock
        self._heard: dict[str, float] = {}  # by Tune's trial id

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """A worker has the job."""
        self._heard[trial.trial_id] = self._clock()

    def on_trial_result(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """An epoch is over."""
        self._heard[trial.trial_id] = self._clock()

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Nothing is expected any more."""
        self._heard.pop(trial.trial_id, None)

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Nothing is expected any more."""
        self._heard.pop(trial.trial_id, None)

    def on_step_begin(self, *, trials: list[Any], **_: Any) -> None:  # type: ignore[override]
        """Look at every job; Tune calls this several times a second."""
        late = self._clock() - 60 * self._minutes
        for trial in trials:
            if self._heard.get(trial.trial_id, late) < late:
                del self._heard[trial.trial_id]
                self._end(trial)

    def _end(self, trial: Any) -> None:
        actor = trial.temporary_state.ray_actor
        if actor is None:  # it is on its way out by itself
            return
        reason = f"it reported no epoch for budget.hang_minutes={self._minutes:g}; its worker ended"
        self._searcher.explain_failure(trial.trial_id, Failure(Kind.HUNG, reason))
        ray.kill(actor)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that is not used; a study cannot be."""
        return {}
