"""What a search may spend altogether, and when it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.trials.job import Listener, TrialJob


@dataclass(frozen=True)
class Spending:
    """What all trainings have taken: epochs, and seconds of a worker; and what was found for it.

    since_best: trials tried since the best one that are no better.
    """

    epochs: int
    seconds: float
    since_best: int


@dataclass(frozen=True)
class Limits:
    """None is no limit.

    minutes: since this session of the search began.
    total_epochs, gpu_hours: of all trainings, those of earlier sessions included.
    patience: trials tried since the best one without a better H-mean; one that is paused is
    compared with the best at its own epoch.
    """

    minutes: float | None = None
    total_epochs: int | None = None
    gpu_hours: float | None = None
    patience: int | None = None

    def late(self, seconds: float) -> str | None:
        """Why to end after so many seconds of this session; None before."""
        if self.minutes is None or seconds < 60 * self.minutes:
            return None
        return f"budget.minutes={self.minutes:g} are over"

    def spent(self, spending: Spending, *, gpus: float) -> str | None:
        """Why to end when trials, which hold `gpus` each, have taken this; None to go on."""
        if self.total_epochs is not None and spending.epochs >= self.total_epochs:
            return f"budget.total_epochs={self.total_epochs} are trained"
        if self.gpu_hours is not None and gpus * spending.seconds / 3600 >= self.gpu_hours:
            return f"budget.gpu_hours={self.gpu_hours:g} are used"
        since = spending.since_best
        if self.patience is not None and since >= self.patience:
            return f"budget.patience: {since} trials after the best one were no better"
        return None


class LimitReachedError(Exception):
    """A limit of the budget ends the search; the text says which, `remedy` how to go on."""

    def __init__(self, reason: str, remedy: str = "add a larger limit to") -> None:
        super().__init__(reason)
        self.remedy = remedy


class Watch(Listener):
    """Ends a search when it has reached a limit."""

    def __init__(
        self,
        limits: Limits,
        spending: Callable[[], Spending],
        *,
        gpus: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._spending, self._gpus, self._clock = limits, spending, gpus, clock
        self._started = clock()
        self._reason: str | None = None

    def of_spending(self) -> Watch:
        """The same limits since the same moment, without the one on what was found (patience)."""
        other = copy(self)
        other._limits, other._reason = replace(self._limits, patience=None), None
        return other

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:  # noqa: ARG002
        """An epoch is over."""
        self.look()

    def ended(self, job: TrialJob) -> None:  # noqa: ARG002
        """A trial has ended or is paused."""
        self.look()

    lost = ended  # a trial that is tried no more has ended

    def look(self) -> None:
        """Look at what all trials have taken; `step` tells."""
        if self._limits != Limits(minutes=self._limits.minutes):
            self._reason = self._limits.spent(self._spending(), gpus=self._gpus)

    def step(self) -> None:
        """Raise LimitReachedError when a limit is reached."""
        reason = self._reason or self._limits.late(self._clock() - self._started)
        if reason is not None:
            raise LimitReachedError(reason)
