"""The best trials trained again with new seeds, to tell good settings from lucky trainings.

The best of many scores is high by luck too, and the more trials there are, the more so (the
winner's curse). Another seed gives another order of pages, other crops and other first weights, and
its score was not chosen. What is done and what is left to do follows from the study alone: leaders
are the best finished trials, which change no more, and each training that is over has its result
there. One that was cut off goes on from the checkpoint in its folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.config.settings import ConfirmConfig
from orchestrator.events.kinds import (
    Confirmation,
    Decision,
    Proposed,
    Tell,
    untold,
    without_pages,
)
from orchestrator.propose.jobs import fault_of
from orchestrator.propose.twins import training_part
from orchestrator.results.ranking import ranked
from orchestrator.run.as_records import trial_id
from orchestrator.run.run import Run
from orchestrator.run.study import Study
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.failure import NOTHING_SHARED, Failure, Kind, Retries, Sharing
from orchestrator.trials.job import TrialJob, Twin
from orchestrator.trials.records import METRIC, TrialRecord, TrialState, finite

SEEDS = 2**31  # as many as there are, see train.seed
SEEDS_FOLDER = "seeds"  # in a trial's folder, with a folder for each new seed


@dataclass(frozen=True)
class Training:
    """A leader trained again with `seed`; `folder` is that of this training."""

    leader: TrialRecord
    seed: int
    folder: Path

    @property
    def key(self) -> tuple[int, int | None]:
        """That of its job."""
        return int(self.leader.trial), self.seed

    def is_like(self, other: Training) -> bool:
        """Whether both have the same weights, and only post-processing apart."""
        mine, others = training_part(self.leader.params), training_part(other.leader.params)
        return self.seed == other.seed and mine == others


def leaders(records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The `top` best finished trials by their first scores, whatever new seeds have said."""
    finished = [r for r in records if r.state is TrialState.FINISHED and r.hmean is not None]
    return ranked([replace(record, confirmed=()) for record in finished])[:top]


def trainings(run: Run) -> list[Training]:
    """All trainings that the settings ask for, the leaders in turn for each new seed.

    New seeds are those after a trial's own.
    """
    best = leaders(run.records(), run.config.confirm.top)
    out = []
    for more in range(1, run.config.confirm.seeds + 1):
        for leader in best:
            seed = (run.space.train_config(leader.params).train.seed + more) % SEEDS
            place = run.trial_folder(int(leader.trial)) / SEEDS_FOLDER / str(seed)
            out.append(Training(leader, seed, place))
    return out


def is_confirmed(run: Run) -> bool:
    """Whether every training that the settings ask for is over."""
    return not SeedJobs(run.study, trainings(run)).left


def extra_cost(wanted: ConfirmConfig, space: SearchSpace) -> str:
    """What a confirmation adds to the cost of a search, for the end of that line."""
    if wanted.top == 0:
        return ""
    return (
        f"; confirm.top={wanted.top} confirm.seeds={wanted.seeds} adds up to "
        f"{wanted.top * wanted.seeds} whole trainings of {space.budget.epochs} epochs"
    )


class SeedJobs:
    """The trainings that have no result in the study, until all have.

    Two that differ in post-processing alone are one training: the second waits for the first, and
    its weights are scored. `tell` hears of each that begins, is tried again or is over.
    """

    def __init__(
        self,
        study: Study,
        every: Sequence[Training],
        tell: Tell = untold,
        sharing: Sharing = NOTHING_SHARED,
    ) -> None:
        self._study, self._every, self._tell = study, every, tell
        self._results = study.confirmations()
        self._epochs: dict[tuple[int, int | None], int] = {}  # last one reported of running jobs
        self._retries, self._sharing = Retries(), sharing
        self._alone: set[tuple[int, int | None]] = set()  # keys of jobs that found no memory
        self._begun: set[tuple[int, int | None]] = set()

    @property
    def left(self) -> int:
        """How many trainings have no result."""
        return sum(self._result(training) is None for training in self._every)

    def next_job(self) -> TrialJob | None:
        """The next training that nobody has and whose weights nobody is about to make."""
        for training in self._every:
            if training.key in self._epochs or self._result(training) is not None:
                continue
            alike = self._alike(training)
            if any(self._result(other) is None for other in alike):
                continue
            self._epochs[training.key] = 0
            self._propose(training)
            twins = [twin for other in alike if (twin := self._twin(other))]
            return TrialJob(
                number=int(training.leader.trial),
                folder=training.folder,
                params=training.leader.params,
                twin=twins[0] if twins else None,
                seed=training.seed,
                alone=training.key in self._alone,
            )
        return None

    def _propose(self, training: Training) -> None:
        """Tell of a training that begins, once."""
        leader = training.leader
        if training.key not in self._begun:
            self._begun.add(training.key)
            given = {"trial": leader.trial, "params": leader.params, "seed": training.seed}
            self._tell(Proposed(why="confirmation", **given))

    def _alike(self, training: Training) -> list[Training]:
        """Trainings that come before this one and give the same weights."""
        before = self._every[: self._every.index(training)]
        return [other for other in before if training.is_like(other)]

    def _twin(self, training: Training) -> Twin | None:
        result = self._result(training)
        if result is None or result["reason"]:
            return None
        return Twin(training.folder, result["epochs"], result["best_epoch"], finished=True)

    def _result(self, training: Training) -> dict[str, Any] | None:
        return self._results.get(training.leader.trial, {}).get(training.seed)

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
            self._tell_again(job, f"its worker was lost: {failure.reason}")
        elif not self._left_alone(job, replace(failure, reason=reason)):
            self._keep(job, {}, reason)

    def _left_alone(self, job: TrialJob, failure: Failure) -> bool:
        """Have a job that found no memory beside others tried once without; whether it is."""
        if job.alone or not self._sharing.is_to_blame(failure):
            return False
        self._alone.add(job.key)
        why = f"{failure.reason}; it is tried once with no training beside it"
        self._tell_again(job, why)
        return True

    def _tell_again(self, job: TrialJob, reason: str) -> None:
        """Let the job be the next again."""
        del self._epochs[job.key]
        name = trial_id(job.number)
        self._tell(Decision(trial=name, seed=job.seed, decision="again", reason=reason))

    def _keep(self, job: TrialJob, report: Mapping[str, Any], reason: str | None) -> None:
        training = next(t for t in self._every if t.key == job.key)
        del self._epochs[job.key]
        own = _figures(report) | {"reason": reason}
        self._study.keep_confirmation(training.leader.trial, training.seed, own)
        self._results.setdefault(training.leader.trial, {})[training.seed] = own
        self._tell(
            Confirmation(
                trial=training.leader.trial,
                seed=training.seed,
                hmean=None if reason else own["hmean"],
                first_hmean=training.leader.hmean,
                reason=reason,
                record=without_pages(self._study.record(job.number)),
            )
        )


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
