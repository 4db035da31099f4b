"""What a search may spend altogether, and when it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

from orchestrator.trials.records import TrialRecord, TrialState

_TRIED = (TrialState.FINISHED, TrialState.STOPPED, TrialState.PAUSED, TrialState.FAILED)


@dataclass(frozen=True)
class Limits:
    """None is no limit.

    minutes: since this session of the search began.
    total_epochs, gpu_hours: of all trainings, those of earlier sessions included.
    patience: trials tried since the best one, to a pause at least, without a better H-mean.
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

    def spent(self, records: Sequence[TrialRecord], *, gpus: float) -> str | None:
        """Why to end with these records, of trials that hold `gpus` each; None to go on."""
        epochs = sum(record.epochs for record in records)
        if self.total_epochs is not None and epochs >= self.total_epochs:
            return f"budget.total_epochs={self.total_epochs} are trained"
        hours = gpus * sum(record.seconds for record in records) / 3600
        if self.gpu_hours is not None and hours >= self.gpu_hours:
            return f"budget.gpu_hours={self.gpu_hours:g} are used"
        since = trials_since_best(records)
        if self.patience is not None and since >= self.patience:
            return f"budget.patience: {since} trials after the best one were no better"
        return None


def trials_since_best(records: Sequence[TrialRecord]) -> int:
    """How many trials with a higher number than the best one's were tried; 0 without a score."""
    scored = [(r.hmean, r.trial) for r in records if r.hmean is not None]
    if not scored:
        return 0
    top = max(hmean for hmean, _ in scored)
    best = min(trial for hmean, trial in scored if hmean == top)
    return sum(r.state in _TRIED and r.trial > best for r in records)


class LimitReachedError(Exception):
    """A limit of the budget ends the search; the text says which."""


class Watch:
    """Looks at the limits during a search; `check` may be called several times a second."""

    def __init__(
        self,
        limits: Limits,
        records: Callable[[], Sequence[TrialRecord]],
        *,
        gpus: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._records, self._gpus, self._clock = limits, records, gpus, clock
        self._started = clock()
        self._reason: str | None = None

    def of_spending(self) -> Watch:
        """The same limits since the same moment, without the one on what was found (patience)."""
        other = copy(self)
        other._limits, other._reason = replace(self._limits, patience=None), None
        return other

    def reported(self) -> None:
        """Look at what all trials have reported; `check` tells."""
        if self._limits != Limits(minutes=self._limits.minutes):
            self._reason = self._limits.spent(self._records(), gpus=self._gpus)

    def check(self) -> None:
        """Raise LimitReachedError when a limit is reached."""
        reason = self._reason or self._limits.late(self._clock() - self._started)
        if reason is not None:
            raise LimitReachedError(reason)
