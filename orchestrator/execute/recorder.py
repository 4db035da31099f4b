"""What is shown and written as trials report and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detector.training.storage.best import weights_of
from detector.training.storage.generations import states
from orchestrator.events.kinds import Tell, best_written, untold
from orchestrator.results.live import View
from orchestrator.results.write import BEST, write_results
from orchestrator.run.run import Run
from orchestrator.track.tensorboard import write_trial
from orchestrator.trials.job import Listener, TrialJob
from orchestrator.trials.records import TrialRecord, TrialState


def unlink(path: Path) -> None:
    """Delete a file, if it is there."""
    path.unlink(missing_ok=True)


OVER = (TrialState.FINISHED, TrialState.FAILED, TrialState.STOPPED)


class Recorder(Listener):
    """Keeps the view, the leaderboard, TensorBoard's HParams and `best/` up to date.

    `delete` deletes a file of the run, if it is there; `tell` hears of it when `best/` is written.
    """

    def __init__(
        self,
        run: Run,
        view: View,
        delete: Callable[[Path], None] = unlink,
        tell: Tell = untold,
    ) -> None:
        self._run, self._view, self._delete, self._tell = run, view, delete, tell
        self._at_work: set[int] = set()  # numbers of trials that a worker has
        self._cleaned = {record.trial for record in run.records() if record.state in OVER}
        # Of their weights; those of earlier sessions once more, which may have been cut off.
        self._emptied: set[str] = set()

    def started(self, job: TrialJob) -> None:
        """Show it at work."""
        self._at_work.add(job.number)
        self._view.show(self._records())

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Show its scores."""
        self._view.show(self._records())

    def ended(self, job: TrialJob) -> None:
        """Write what is known now."""
        self._at_work.discard(job.number)
        state = self._run.study.record(job.number).state
        if state is TrialState.PAUSED:  # maybe for days, and its last state was whole when written
            self._delete_states(job.number, but_last=True)
        if state is not TrialState.RUNNING:
            self.close()  # else it is tried again

    def lost(self, job: TrialJob) -> None:
        """A trial that is tried no more has ended."""
        self._at_work.discard(job.number)
        if self._run.study.record(job.number).state is TrialState.FAILED:
            self.ended(job)

    def close(self) -> None:
        """Write the results; trials that were paused to the end of a search are over then."""
        records = self._records()
        self._view.show(records)
        self._clean(records)
        run = self._run
        if top := write_results(run.folder, records, run.parameters, run.trade_off):
            self._tell(best_written(top, run.folder / BEST))

    def _clean(self, records: list[TrialRecord]) -> None:
        """Nothing continues a trial that is over, and states of training are the largest files.

        The last one of a finished trial stays, unless the disk has a limit: a repeated training is
        compared with it.
        """
        over = {record.trial: record for record in records if record.state in OVER}
        for name in sorted(over.keys() - self._cleaned):
            write_trial(self._run.trial_folder(int(name)), over[name], self._run.space.parameters)
            self._delete_states(int(name), but_last=self._is_compared(over[name]))
            self._cleaned.add(name)
        for name in sorted(set(self._run.study.weights_deleted) - self._emptied):
            self._delete_states(int(name))
            self._delete(weights_of(self._run.trial_folder(int(name))))
            self._emptied.add(name)

    def _is_compared(self, record: TrialRecord) -> bool:
        is_limited = self._run.config.budget.disk_gb is not None
        return record.state is TrialState.FINISHED and not is_limited

    def _delete_states(self, number: int, *, but_last: bool = False) -> None:
        for path in states(self._run.trial_folder(number) / "checkpoint", but_last=but_last):
            self._delete(path)

    def _records(self) -> list[TrialRecord]:
        """The study's records, told apart by whether a worker has them now."""
        return [self._as_seen_here(record) for record in self._run.records()]

    def _as_seen_here(self, record: TrialRecord) -> TrialRecord:
        at_work = int(record.trial) in self._at_work
        if record.state is TrialState.PAUSED and at_work:
            return replace(record, state=TrialState.RUNNING)
        if record.state is TrialState.RUNNING and not at_work:
            return replace(record, state=TrialState.PENDING)
        return record
