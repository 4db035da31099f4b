"""What happens to the jobs of a search, as events: written, and shown where that is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.compare.hopeless import LOSS
from orchestrator.events.kinds import Best, Epoch, Event, Note, Tell, TrialStarted
from orchestrator.results.ranking import best
from orchestrator.run.as_records import trial_id
from orchestrator.run.run import Run
from orchestrator.trials.job import Listener, TrialJob
from orchestrator.trials.records import METRIC, finite


class Events(Listener):
    """Writes by `write` and shows by `show` what becomes of jobs, in the order of what came of it.

    What the jobs decide (`decided`) is kept back until listeners are told of the report that it
    follows from.
    """

    def __init__(self, run: Run, write: Tell, show: Tell) -> None:
        self._run, self._write, self._show = run, write, show
        self._decided: list[Event] = []
        self._best = best(run.records())

    def tell(self, event: Event) -> None:
        """Write and show an event."""
        self._write(event)
        self._show(event)

    def say(self, text: str) -> None:
        """A line for people."""
        self.tell(Note(text=text))

    def decided(self, event: Event) -> None:
        """Tell of a decision after what it came of."""
        self._decided.append(event)

    def step(self) -> None:
        """Tell of what was decided."""
        decided, self._decided = self._decided, []
        for event in decided:
            self.tell(event)

    close = step

    def started(self, job: TrialJob) -> None:
        """A worker has the job."""
        self.step()
        done = self._run.study.record(job.number).epochs if job.seed is None else None
        self.tell(
            TrialStarted(
                trial=trial_id(job.number),
                epoch=done,
                until=job.until,
                seed=job.seed,
                alone=job.alone,
            )
        )

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """An epoch is over."""
        hmean = report.get("hmean", report[METRIC])
        self.tell(
            Epoch(
                trial=trial_id(job.number),
                epoch=int(report["epoch"]),
                epochs=self._run.space.budget.epochs,
                hmean=float(report[METRIC] if finite(hmean) is None else hmean),
                best_hmean=float(report[METRIC]),
                loss=finite(report.get(LOSS)),
                seconds=float(report.get("seconds", 0.0)),
                seed=job.seed,
            )
        )
        self._look_for_best()

    def ended(self, job: TrialJob) -> None:  # noqa: ARG002
        """The job is over."""
        self.step()
        self._look_for_best()

    lost = ended

    def _look_for_best(self) -> None:
        """Tell of other best weights, by new seeds too."""
        top, before = best(self._run.records()), self._best
        if top is None or top.hmean is None:
            return
        if before is None or (top.trial, top.hmean) != (before.trial, before.hmean):
            self._best = top
            had = None if before is None else before.hmean
            epoch = top.epochs if top.best_epoch is None else top.best_epoch
            self.tell(Best(trial=top.trial, epoch=epoch, hmean=top.hmean, before=had))
