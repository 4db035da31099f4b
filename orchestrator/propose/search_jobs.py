"""The trials of a search, one job after another: proposed, trained from rung to rung, ended.

Ray's own OptunaSearch tells Optuna that a trial stopped early is complete, leaves a trial
without a finite score running for ever, and cannot be restored after its driver was killed.
Here the study is the only state, and it is told honestly how each trial ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from detector.config.settings import TrainConfig
from orchestrator.place.work import relative_work
from orchestrator.propose.halving import (
    Halving,
    Progress,
    equal_cost,
    leader,
    next_stop,
    promotable,
)
from orchestrator.propose.hopeless import LOSS, Hopeless
from orchestrator.propose.jobs import fault_of
from orchestrator.propose.proposals import HMEAN, propose
from orchestrator.propose.trade_offs import figures, others
from orchestrator.propose.twins import twin_of
from orchestrator.run.as_records import (
    ALONE,
    BEST,
    FIGURES,
    FOLDER,
    LATEST,
    LOSSES,
    LOST,
    PAUSED,
    REASON,
    TWIN,
    folder_name,
)
from orchestrator.run.run import Run
from orchestrator.trials.failure import NOTHING_SHARED, Failure, Kind, Retries, Sharing
from orchestrator.trials.job import TrialJob, Twin
from orchestrator.trials.pareto import as_objectives
from orchestrator.trials.records import METRIC

# Trials that wait for the weights of others and were proposed without the scores that would guide
# them; at most as many as that, or as there are jobs at work.
AHEAD = 4
KEPT_APART = ("page_hmeans", "tuned")  # of a report


@dataclass
class _Running:
    """How far a job is: the last epoch stored, and the one to train to (None: the last)."""

    epoch: int
    until: int | None


class SearchJobs:
    """One job after another until the study holds as many ended trials as the space's budget says.

    A job is a trial and the epoch to train it to. With `halving` that is its next rung: a trial
    that gets there is paused, which the study calls RUNNING, and may be given out again later.
    Without, a job is the whole training, for a scheduler to stop. Trials that an earlier session
    left in the middle of a job come first; they go on from their last checkpoint.
    """

    def __init__(
        self, run: Run, halving: Halving | None = None, sharing: Sharing = NOTHING_SHARED
    ) -> None:
        self._run, self._study, self._space = run, run.study, run.space
        self._halving = halving
        self._objectives = as_objectives(run.config.search.objectives)
        # Of a trade-off a small model that learns slowly may be a part.
        share = run.config.search.hopeless if self._objectives == HMEAN else 0.0
        cost = halving.cost if halving else equal_cost
        self._hopeless = Hopeless(run.study, run.space.budget.epochs, share, cost)
        self._running: dict[int, _Running] = {}  # by number of the trial
        self._retries, self._sharing = Retries(), sharing
        self.is_exhausted = False  # whether there was nothing new to propose

    @property
    def left(self) -> int:
        """How many trials are not over."""
        return self._run.left

    def next_job(self) -> TrialJob | None:
        """The next job; None while it depends on the jobs that are running, or when all is over."""
        number = self._next()
        if number is None and not self._running:
            self._stop_paused()
            number = self._next()  # one that waited for a paused trial, see `_waited_for`
        return None if number is None else self._job(self._study.trial(number))

    def _job(self, trial: FrozenTrial) -> TrialJob:
        number, params = trial.number, dict(trial.params)
        epoch = max(trial.intermediate_values, default=0)
        until = next_stop(epoch, self._steps(trial)) if self._halving else None
        twin = twin_of(number, params, self._study.trials)
        if twin is not None:
            until = None
            self._study.note(number, **{TWIN: twin.number})
        self._running[number] = _Running(epoch, until)
        weights = None if twin is None else self._weights_of(twin)
        folder, alone = self._run.trial_folder(number), ALONE in trial.user_attrs
        return TrialJob(number, folder, params, until=until, twin=weights, alone=alone)

    def _weights_of(self, twin: FrozenTrial) -> Twin:
        latest = twin.user_attrs.get(LATEST, {})
        return Twin(
            source=self._run.trial_folder(twin.number),
            epochs=int(latest["epoch"]),
            best_epoch=int(latest.get("best_epoch", latest["epoch"])),
            finished=twin.state is OptunaState.COMPLETE,
        )

    def _next(self) -> int | None:
        """The number of the trial to go on with; None when there is none now."""
        while True:
            progress = self._progress()
            begun = [p.number for p in progress if not (p.busy or p.ended or p.is_paused)]
            begun = [number for number in begun if not self._hopeless.given_up(number)]
            waited_for = {number: self._waited_for(number) for number in begun}
            if ready := [number for number in begun if waited_for[number] is None]:
                return ready[0]
            if self._halving and (best := promotable(progress, self._halving.factor)):
                return best.number
            is_far_ahead = len(begun) >= max(AHEAD, len(self._running))
            if is_far_ahead or not self._propose():
                break
        if self._running or not self._halving:
            return None
        if is_far_ahead:
            best = leader([p for p in progress if p.number in waited_for.values()], 1)
        elif not self._has_finished():
            # A search ends alike whether there are enough trials or no untried points: the best
            # of each rung go on as ever, and where that finished none, the best of all does.
            best = leader(progress, self._halving.factor)
        return best.number if best else None

    def _waited_for(self, number: int) -> int | None:
        """The trial whose weights a trial needs, if it needs no training and they are not ready."""
        twin = twin_of(number, self._study.trial(number).params, self._study.trials)
        return None if twin is None or twin.state.is_finished() else twin.number

    def _progress(self) -> list[Progress]:
        return [
            Progress(
                trial.number,
                steps=self._steps(trial),
                values=trial.intermediate_values,
                busy=trial.number in self._running,
                ended=trial.state.is_finished(),
                others=others(trial, self._study.record(trial.number), self._objectives),
            )
            for trial in self._study.trials
            if TWIN not in trial.user_attrs or not trial.state.is_finished()
        ]

    def _steps(self, trial: FrozenTrial) -> tuple[int, ...]:
        return self._halving.steps(trial.params) if self._halving else ()

    def _propose(self) -> bool:
        """Put a new trial into the study; False when there are enough or nothing is untried."""
        known, budget = self._study.trials, self._space.budget
        if self.is_exhausted or len(known) >= budget.trials:
            return False
        seed = self._run.config.seed
        drawn = propose(known, self._space, seed=seed, objectives=self._objectives)
        self.is_exhausted = drawn is None
        if drawn is None:
            return False
        name = folder_name(self._study.next_number, drawn.params)
        self._study.begin(drawn.params, drawn.distributions, **{FOLDER: name})
        return True

    def _has_finished(self) -> bool:
        return any(trial.state is OptunaState.COMPLETE for trial in self._study.trials)

    def _stop_paused(self) -> None:
        """The search is over: what is paused now goes no further."""
        for progress in self._progress():
            if progress.is_paused and not progress.ended:
                self._study.end(progress.number, OptunaState.PRUNED)

    def is_hopeless(self, job: TrialJob, report: Mapping[str, Any]) -> bool:
        """Whether to stop a job with this report, far behind what others had long before."""
        if fault_of(report) or report.get("finished"):
            return False
        epoch, loss = int(report["epoch"]), report.get(LOSS)
        return self._hopeless.why(job.number, epoch, report[METRIC], loss) is not None

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """Store a report, or end the trial when it reports its own failure."""
        if job.number not in self._running:
            return
        if report.get("error"):
            failure = Failure(Kind.BUG, str(report["error"]))
            if not self._by_others(job.number, failure):  # which `ended` sees to
                self._fail(job.number, failure)
        else:
            self._store(job.number, report)

    def ended(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """Tell the study how the trial ended: COMPLETE, PRUNED or FAIL; or leave it paused."""
        number, running = job.number, self._running.get(job.number)
        if running is None:  # it failed by its own report
            return
        reason = fault_of(report)
        if reason is None:
            self._store(number, report)
            if self._hopeless.given_up(number):
                del self._running[number]
                return
            reason = _too_short(running, report)
        if reason is not None:
            self._fail(number, Failure(Kind.BUG, reason))
            return
        if report.get("finished"):
            self._study.end(number, OptunaState.COMPLETE)
        elif running.until is None:
            self._study.end(number, OptunaState.PRUNED)
        else:
            self._study.note(number, **{PAUSED: running.epoch})
        del self._running[number]

    def lost(self, job: TrialJob, failure: Failure) -> None:
        """Fail the trial, or leave it to be the next job again, from its last epoch."""
        number, running = job.number, self._running.get(job.number)
        if running is None:
            return
        reason = self._retries.verdict(number, running.epoch, failure)
        if reason is not None:
            self._fail(number, replace(failure, reason=reason))
            return
        lost = self._study.trial(number).user_attrs.get(LOST, 0)
        self._study.note(number, **{LOST: lost + 1})
        del self._running[number]

    def _store(self, number: int, report: Mapping[str, Any]) -> None:
        """Keep a report; one that a restarted worker repeats changes nothing."""
        running, epoch = self._running[number], int(report.get("epoch", 0))
        value = report.get(METRIC)
        if value is None or not math.isfinite(value) or epoch <= running.epoch:
            return
        running.epoch = epoch
        if report.get("page_hmeans"):
            best = {
                "epoch": int(report.get("best_epoch", epoch)),
                "hmeans": self._study.in_order(report["page_hmeans"]),
                "tuned": dict(report.get("tuned", {})),
            }
            self._study.note(number, **{BEST: best})
        latest = {name: value for name, value in report.items() if name not in KEPT_APART}
        self._study.note(number, **{LATEST: latest})
        if (loss := report.get(LOSS)) is not None:
            losses = self._study.trial(number).user_attrs.get(LOSSES, {})
            self._study.note(number, **{LOSSES: losses | {str(epoch): loss}})
        if self._objectives != HMEAN:
            known = self._study.trial(number).user_attrs.get(FIGURES, {})
            now = figures(self._study.record(number), self._objectives)
            self._study.note(number, **{FIGURES: known | {str(epoch): now}})
        self._study.report(number, epoch, float(value))

    def _by_others(self, number: int, failure: Failure) -> bool:
        """Whether a trial failed for want of memory that others may have had."""
        return ALONE not in self._study.trial(number).user_attrs and self._sharing.is_to_blame(
            failure
        )

    def _fail(self, number: int, failure: Failure) -> None:
        """Fail the trial, or leave it to be tried once without others beside it."""
        del self._running[number]
        if self._by_others(number, failure):
            self._study.note(number, **{ALONE: failure.reason})
            return
        self._study.note(number, **{REASON: failure.reason})
        self._study.end(number, OptunaState.FAIL)


def _too_short(running: _Running, report: Mapping[str, Any]) -> str | None:
    """Why a job has failed that ended before the epoch that it was to train to; else None."""
    epoch = int(report.get("epoch", 0))
    if running.until is None or epoch >= running.until or report.get("finished"):
        return None
    return f"it ended after epoch {epoch}, though it should train to {running.until}"


def halving_of(run: Run) -> Halving | None:
    """How trials pause and go on; None where Ray's ASHA stops them instead."""
    search, space = run.config.search, run.space
    if search.scheduler == "asha":
        return None
    return Halving(
        epochs=space.budget.epochs,
        grace=space.budget.grace_epochs,
        factor=space.budget.reduction_factor,
        every=space.fixed.get("train.eval_every", TrainConfig().train.eval_every),
        cost=relative_work(space) if search.compare == "cost" else equal_cost,
    )
