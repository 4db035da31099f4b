"""What a search and a confirmation have in common: one job after another for whoever runs them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from orchestrator.trials.failure import Failure
from orchestrator.trials.job import Choose, TrialJob, anywhere
from orchestrator.trials.records import METRIC


class Jobs(Protocol):
    """Decides what is run next; whoever runs it tells what became of each job.

    Everything that is decided follows from the study, where it is kept before a call returns.
    """

    @property
    def left(self) -> int:
        """How many trials or trainings are not over, running ones included."""

    @property
    def at_once(self) -> int:
        """How many of them could run at this time, running ones included.

        Not those that wait for what others will report.
        """

    def next_job(self, choose: Choose = anywhere) -> TrialJob | None:
        """A job to run now, where `choose` says; None while that depends on running ones.

        Where none is running, None says that nothing is left: `choose` lets something start then.
        """

    def is_hopeless(self, job: TrialJob, report: Mapping[str, Any]) -> bool:
        """Whether to stop a job at this epoch; `ended` has the report then."""

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """An epoch is over; a report that comes again changes nothing."""

    def ended(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """The job has ended by itself, and this is its last report."""

    def lost(self, job: TrialJob, failure: Failure) -> None:
        """The job's worker was lost."""


def fault_of(report: Mapping[str, Any]) -> str | None:
    """Why a job whose last report this is has failed; None when it has not."""
    if report.get("error"):
        return str(report["error"])
    value = report.get(METRIC)
    if value is None:
        return "it ended without a score"
    if not math.isfinite(value):
        return f"its score is not a finite number: {METRIC} is {value}"
    return None
