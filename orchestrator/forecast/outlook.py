"""What a running search expects, told while it runs, and the end of one that expects too little."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from orchestrator.config.limits import LimitReachedError
from orchestrator.forecast.follow import Following
from orchestrator.forecast.forecast import Ends, forecast
from orchestrator.forecast.words import in_words, left_of, why_stop
from orchestrator.results.live import View
from orchestrator.run.as_records import trial_id
from orchestrator.run.run import Run
from orchestrator.run.spending import spending
from orchestrator.trials.job import Listener, TrialJob

EVERY_S = 10.0  # between two forecasts, at least
MOST_SHARE = 0.02  # of the search's own process that forecasts may take


class Outlook(Listener):
    """Shows and keeps what the search is expected to do, and ends it where the user asked for that.

    A forecast is made `every_s` after the last one at the earliest, and late enough for all of them
    to take `most_share` of the time.
    """

    def __init__(
        self,
        run: Run,
        view: View,
        *,
        gpus: float = 0.0,
        every_s: float = EVERY_S,
        most_share: float = MOST_SHARE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._view, self._gpus = run, view, gpus
        self._every_s, self._most_share, self._clock = every_s, most_share, clock
        self._following, self._begun = Following(run, clock), clock()
        self._next, self._reason = 0.0, ""

    def started(self, job: TrialJob) -> None:
        """It has a worker."""
        self._following.started(job)

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """An epoch is over."""
        self._following.reported(job, report)
        self._look()

    def ended(self, job: TrialJob) -> None:
        """A job is over."""
        self._following.ended(job)
        self._look()

    lost = ended

    def step(self) -> None:
        """Raise LimitReachedError when going on is not worth it."""
        if self._reason:
            raise LimitReachedError(self._reason, remedy="add a smaller budget.worth to")

    def _look(self) -> None:
        started, working = self._clock(), self._following.at_work()
        self._view.left({trial_id(trial.number): left_of(trial) for trial in working})
        if started < self._next:
            return
        trials = self._following.trials()
        expected = forecast(trials, self._following.rules(), self._ends(), seed=len(trials))
        if expected is not None:
            self._view.expect(in_words(expected))
            self._run.study.keep_forecast(asdict(expected), datetime.now())
            budget = self._run.config.budget
            if budget.stop == "auto":
                self._reason = why_stop(expected, trials, budget.worth_an_hour) or ""
        took = self._clock() - started
        self._next = started + took + max(self._every_s, took / self._most_share)

    def _ends(self) -> Ends:
        """What is left of the budget."""
        budget, confirm = self._run.config.budget, self._run.config.confirm
        spent, study = spending(self._run.study), self._run.study
        done = sum(len(seeds) for seeds in study.confirmations().values())
        elapsed = self._clock() - self._begun
        training_s = None
        if budget.gpu_hours is not None and self._gpus:
            training_s = 3600 * budget.gpu_hours / self._gpus - spent.seconds
        return Ends(
            seconds=None if budget.minutes is None else 60 * budget.minutes - elapsed,
            epochs=None if budget.total_epochs is None else budget.total_epochs - spent.epochs,
            training_s=training_s,
            confirmations=max(0, confirm.top * confirm.seeds - done),
        )
