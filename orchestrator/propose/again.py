"""Trials of a search trained again in another way, as jobs: with new seeds, on fewer pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.propose.jobs import fault_of
from orchestrator.propose.twins import training_part
from orchestrator.trials.failure import Failure, Kind, Retries, Sharing
from orchestrator.trials.job import ANYWHERE, Choose, TrialJob, Twin, anywhere
from orchestrator.trials.records import METRIC, TrialRecord, finite


@dataclass(frozen=True)
class Training:
    """A leader trained again with `seed`; `folder` is that of this training, `name` is for people.

    values: settings in place of those that the leader has.
    """

    leader: TrialRecord
    seed: int
    folder: Path
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, Path]:
        """That of its job."""
        return int(self.leader.trial), self.folder

    def is_like(self, other: Training) -> bool:
        """Whether both have the same weights, and only what is done with them apart."""
        mine, others = training_part(self.leader.params), training_part(other.leader.params)
        return (self.seed, self.values, mine) == (other.seed, other.values, others)


class AgainJobs(ABC):
    """The trainings that have no result, until all have.

    Two that differ in what is done with weights alone are one training: the second waits for the
    first, and its weights are scored. What is done is told to `begins`, `tried_again` and `keep`.
    """

    def __init__(self, every: Sequence[Training], sharing: Sharing) -> None:
        self._every = every
        self._begun: set[tuple[int, Path]] = set()
        self._epochs: dict[tuple[int, Path], int] = {}  # last one reported of running jobs
        self._retries, self._sharing = Retries(), sharing
        self._alone: set[tuple[int, Path]] = set()  # keys of jobs that found no memory

    @abstractmethod
    def result(self, training: Training) -> Mapping[str, Any] | None:
        """What is kept of a training that is over; None before."""

    @abstractmethod
    def keep(self, training: Training, result: dict[str, Any]) -> None:
        """Keep what a training gave, see `Study.keep_confirmation`."""

    @abstractmethod
    def tried_again(self, training: Training, reason: str) -> None:
        """A training was cut off, for this reason, and will be the next again."""

    def begins(self, training: Training) -> None:  # noqa: B027
        """A training is the next for the first time."""

    @property
    def left(self) -> int:
        """How many trainings have no result."""
        return sum(self.result(training) is None for training in self._every)

    @property
    def at_once(self) -> int:
        """All of them: the few that need another's weights are begun in a moment."""
        return self.left

    def next_job(self, choose: Choose = anywhere) -> TrialJob | None:
        """The next training that nobody has and whose weights nobody is about to make.

        All are whole trainings, which wait for the machines that suit them.
        """
        for training in self._every:
            if training.key in self._epochs or self.result(training) is not None:
                continue
            alike = self._alike(training)
            if any(self.result(other) is None for other in alike):
                continue
            alone = training.key in self._alone
            where = ANYWHERE if alone else choose(training.leader.params, self.left, False)
            if where is None:
                continue
            self._epochs[training.key] = 0
            if training.key not in self._begun:
                self._begun.add(training.key)
                self.begins(training)
            twins = [twin for other in alike if (twin := self._twin(other))]
            return TrialJob(
                number=int(training.leader.trial),
                folder=training.folder,
                params=training.leader.params,
                twin=twins[0] if twins else None,
                seed=training.seed,
                alone=alone,
                values=training.values,
                where=where,
            )
        return None

    def _alike(self, training: Training) -> list[Training]:
        """Trainings that come before this one and give the same weights."""
        before = self._every[: self._every.index(training)]
        return [other for other in before if training.is_like(other)]

    def _twin(self, training: Training) -> Twin | None:
        result = self.result(training)
        if result is None or result["reason"]:
            return None
        return Twin(training.folder, result["epochs"], result["best_epoch"], finished=True)

    def is_hopeless(self, job: TrialJob, report: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Never: leaders have shown what they learn."""
        return False

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """Note how far it is; the last report has everything else."""
        self._epochs[job.key] = int(report.get("epoch", 0))

    def ended(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """Keep what the training gave, or why it failed."""
        reason = fault_of(report)
        if reason is None and not report.get("finished"):
            reason = f"it ended after epoch {report.get('epoch', 0)}, before the last one"
        if reason is None or not self._left_alone(job, Failure(Kind.BUG, reason)):
            self._keep(job, report, reason)

    def lost(self, job: TrialJob, failure: Failure) -> None:
        """Keep why the training failed, or leave it to be the next again."""
        reason = self._retries.verdict(job.key, self._epochs[job.key], failure)
        if reason is None:
            self._try_again(job, f"its worker was lost: {failure.reason}")
        elif not self._left_alone(job, replace(failure, reason=reason)):
            self._keep(job, {}, reason)

    def _left_alone(self, job: TrialJob, failure: Failure) -> bool:
        """Have a job that found no memory beside others tried once without; whether it is."""
        if job.alone or not self._sharing.is_to_blame(failure):
            return False
        self._alone.add(job.key)
        self._try_again(job, f"{failure.reason}; it is tried once with no training beside it")
        return True

    def _try_again(self, job: TrialJob, reason: str) -> None:
        del self._epochs[job.key]
        self.tried_again(self._training(job), reason)

    def _keep(self, job: TrialJob, report: Mapping[str, Any], reason: str | None) -> None:
        del self._epochs[job.key]
        self.keep(self._training(job), _figures(report) | {"reason": reason})

    def _training(self, job: TrialJob) -> Training:
        return next(t for t in self._every if t.key == job.key)


def _figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a last report, plain and without what is not a number."""
    epoch = int(report.get("epoch", 0))
    return {
        "hmean": finite(report.get(METRIC)),
        "iou_hmean": finite(report.get("best_iou_hmean")),
        "epochs": epoch,
        "best_epoch": int(report.get("best_epoch", epoch)),
        "seconds": float(report.get("seconds", 0.0)),
    }
