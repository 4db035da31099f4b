"""A trial that reports nothing for too long fails, and its worker is ended for the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.trials.failure import Failure, Kind
from orchestrator.trials.job import Listener, TrialJob

# A step of the search's own process takes no longer. Time beyond that it was busy with something
# else, such as a bucket that does not answer, and reports may wait to be read.
LONGEST_STEP_S = 1.0


class HangWatch(Listener):
    """Ends the worker of a job that has shown no life for `minutes`, and says why.

    It looks from outside, since a process that hangs in a driver or a file system may run none of
    its own code. The time begins when the worker has the job, and again with each sign of life.
    """

    def __init__(
        self,
        minutes: float,
        end_worker: Callable[[TrialJob, Failure], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._minutes, self._end_worker, self._clock = minutes, end_worker, clock
        self._seconds, self._last = 0.0, clock()  # looked on for so long; when that was counted
        self._heard: dict[tuple[int, Path], tuple[float, TrialJob]] = {}

    def started(self, job: TrialJob) -> None:
        """A worker has the job."""
        self._heard[job.key] = self._seconds, job

    def alive(self, job: TrialJob) -> None:
        """It copies what it needs."""
        self.started(job)

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:  # noqa: ARG002
        """An epoch is over."""
        self.started(job)

    def ended(self, job: TrialJob) -> None:
        """Nothing is expected any more."""
        self._heard.pop(job.key, None)

    lost = ended

    def step(self) -> None:
        """Look at every job."""
        now = self._clock()
        self._seconds += min(now - self._last, LONGEST_STEP_S)
        self._last = now
        late = self._seconds - 60 * self._minutes
        for key, (heard, job) in list(self._heard.items()):
            if heard < late:
                del self._heard[key]
                reason = (
                    f"it reported no epoch for budget.hang_minutes={self._minutes:g}; its worker "
                    "ended"
                )
                self._end_worker(job, Failure(Kind.HUNG, reason))
