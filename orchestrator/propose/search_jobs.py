"""The trials of a search, one job after another: proposed, trained from rung to rung, ended.

Ray's own OptunaSearch tells Optuna that a trial stopped early is complete, leaves a trial
without a finite score running for ever, and cannot be restored after its driver was killed.
Here the study is the only state, and it is told honestly how each trial ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.compare.decisions import Decisions, comparison_of, progress_of
from orchestrator.compare.ends import Ends
from orchestrator.compare.halving import (
    Halving,
    Progress,
    all_promotable,
    equal_cost,
    leader,
    next_stop,
)
from orchestrator.compare.hopeless import LOSS, Hopeless
from orchestrator.events.kinds import Proposed, Tell, untold
from orchestrator.propose.jobs import fault_of
from orchestrator.propose.proposals import HMEAN, propose
from orchestrator.propose.reports import Running, store, too_short
from orchestrator.propose.twins import Twins
from orchestrator.run.as_records import (
    ALONE,
    FOLDER,
    LOST,
    PAUSED,
    REASON,
    TWIN,
    folder_name,
    trial_id,
)
from orchestrator.run.run import Run
from orchestrator.trials.failure import NOTHING_SHARED, Failure, Kind, Retries, Sharing
from orchestrator.trials.job import ANYWHERE, Choose, TrialJob, Where, anywhere
from orchestrator.trials.pareto import as_objectives
from orchestrator.trials.records import METRIC

# Trials that wait for the weights of others and were proposed without the scores that would guide
# them; at most as many as that, or as there are jobs at work.
AHEAD = 4


class SearchJobs:
    """One job after another until the study holds as many ended trials as the space's budget says.

    A job is a trial and the epoch to train it to. With `halving` that is its next rung: a trial
    that gets there is paused, which the study calls RUNNING, and may be given out again later.
    Without, a job is the whole training, for a scheduler to stop. Trials that an earlier session
    left in the middle of a job come first; they go on from their last checkpoint. `tell` hears
    what is proposed and decided, and why, when the study has it.
    """

    def __init__(
        self,
        run: Run,
        halving: Halving | None = None,
        sharing: Sharing = NOTHING_SHARED,
        tell: Tell = untold,
    ) -> None:
        self._run, self._study, self._space = run, run.study, run.space
        self._halving, self._tell = halving, tell
        self._objectives = as_objectives(run.config.search.objectives)
        # Of a trade-off a small model that learns slowly may be a part.
        share = run.config.search.hopeless if self._objectives == HMEAN else 0.0
        cost = halving.cost if halving else equal_cost
        self._hopeless = Hopeless(run.study, run.space.budget.epochs, share, cost)
        comparison = halving or comparison_of(run.space, run.config)
        self._decisions = Decisions(run.study, comparison, self._objectives, tell)
        self._ends = Ends(
            self._decisions, self._progress, run.config.budget.disk_gb, run.config.confirm.top
        )
        self._running: dict[int, Running] = {}  # by number of the trial
        self._twins = Twins(run)
        self._retries, self._sharing = Retries(), sharing
        self.is_exhausted = False  # whether there was nothing new to propose

    @property
    def left(self) -> int:
        """How many trials are not over."""
        return self._run.left

    @property
    def at_once(self) -> int:
        """Running and proposed trials, promoted ones, and what is not proposed yet."""
        progress = self._progress()
        begun = [p.number for p in progress if not (p.busy or p.ended or p.is_paused)]
        ready = sum(self._twins.waited_for(number) is None for number in begun)
        return len(self._running) + ready + len(self._promoted(progress)) + self._missing

    def _promoted(self, progress: Sequence[Progress]) -> list[int]:
        """Paused trials that have earned to go on, the next one first."""
        halving = self._halving
        return [p.number for p in all_promotable(progress, halving.shares())] if halving else []

    @property
    def _missing(self) -> int:
        """Trials that are still to be proposed."""
        missing = self._space.budget.trials - len(self._study.trials)
        return 0 if self.is_exhausted else max(0, missing)

    def next_job(self, choose: Choose = anywhere) -> TrialJob | None:
        """The next job; None while it depends on the jobs that are running, or when all is over."""
        found = self._next(choose)
        if found is None and not self._running:
            # A trial that has reported its own failure may hold its machine for a moment more: what
            # only waits for that is not the end of the search.
            found = self._next(anywhere)
        if found is None and not self._running:
            self._ends.search()
            found = self._next(anywhere)  # one that waited for a paused trial, see `Twins`
        return None if found is None else self._job(self._study.trial(found[0]), found[1])

    def _job(self, trial: FrozenTrial, where: Where) -> TrialJob:
        number, params = trial.number, dict(trial.params)
        epoch = max(trial.intermediate_values, default=0)
        until = next_stop(epoch, self._steps(trial)) if self._halving else None
        twin = self._twins.of(number)
        if twin is not None:
            until = None
            self._study.note(number, **{TWIN: twin.number})
            self._decisions.say(number, "reused", f"the weights of trial {trial_id(twin.number)}")
        self._running[number] = Running(epoch, until)
        weights = None if twin is None else self._twins.weights(twin)
        folder, alone = self._run.trial_folder(number), ALONE in trial.user_attrs
        return TrialJob(number, folder, params, until=until, twin=weights, alone=alone, where=where)

    def _next(self, choose: Choose) -> tuple[int, Where] | None:
        """The number of the trial to go on with, and where; None when there is none now."""
        while True:
            progress = self._progress()
            begun = [p.number for p in progress if not (p.busy or p.ended or p.is_paused)]
            begun = [number for number in begun if not self._given_up(number)]
            waited_for = {number: self._twins.waited_for(number) for number in begun}
            ready = [number for number in begun if waited_for[number] is None]
            if found := self._first(ready, choose, len(ready) + self._missing, begins=True):
                return found
            promoted = self._promoted(progress)
            if found := self._first(promoted, choose, len(promoted)):
                self._decisions.by_rank([found[0]], "promoted", compared=progress)
                return found
            is_far_ahead = len(begun) >= max(AHEAD, len(self._running))
            if is_far_ahead or not self._propose():
                break
        if self._running or not self._halving:
            return None
        shares, best, why = self._halving.shares(), None, "no trial has finished"
        if is_far_ahead:
            best = leader([p for p in progress if p.number in waited_for.values()], shares)
            why = "others wait for its weights"
        elif not self._has_finished():
            # A search ends alike whether there are enough trials or no untried points: the best
            # of each rung go on as ever, and where that finished none, the best of all does.
            best = leader(progress, shares)
        if best is None or (found := self._first([best.number], choose, 1)) is None:
            return None
        self._decisions.by_rank([best.number], "promoted", why, progress)
        return found

    def _first(
        self, numbers: Sequence[int], choose: Choose, waiting: int, *, begins: bool = False
    ) -> tuple[int, Where] | None:
        """The first of these trials for which there is a place now, and that."""
        for number in numbers:
            trial = self._study.trial(number)
            alone = ALONE in trial.user_attrs
            where = ANYWHERE if alone else choose(trial.params, waiting, begins)
            if where is not None:
                return number, where
        return None

    def _given_up(self, number: int) -> bool:
        if given_up := self._hopeless.given_up(number):
            self._decisions.say(number, "given_up", self._study.record(number).reason)
        return given_up

    def _progress(self) -> list[Progress]:
        return progress_of(self._study, self._halving, self._objectives, self._running)

    def _steps(self, trial: FrozenTrial) -> tuple[int, ...]:
        return self._halving.steps(trial.params) if self._halving else ()

    def _propose(self) -> bool:
        """Put a new trial into the study; False when there are enough or nothing is untried."""
        known, budget = self._study.trials, self._space.budget
        if self.is_exhausted or len(known) >= budget.trials:
            return False
        seed, by = self._run.config.seed, self._run.config.search.sampler
        aims, steps = self._objectives, self._decisions.halving.steps
        drawn = propose(known, self._space, seed=seed, objectives=aims, by=by, steps=steps)
        self.is_exhausted = drawn is None
        if drawn is None:
            return False
        name = folder_name(self._study.next_number, drawn.params)
        trial = self._study.begin(drawn.params, drawn.distributions, **{FOLDER: name})
        self._tell(Proposed(trial=trial_id(trial.number), params=drawn.params, why=drawn.why))
        return True

    def _has_finished(self) -> bool:
        return any(trial.state is OptunaState.COMPLETE for trial in self._study.trials)

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
            if self._given_up(number):
                del self._running[number]
                self._ends.early(self._missing)
                return
            reason = too_short(running, report)
        if reason is not None:
            self._fail(number, Failure(Kind.BUG, reason))
            return
        if report.get("finished"):
            self._study.end(number, OptunaState.COMPLETE)
            self._decisions.say(number, "finished")
        elif running.until is None:
            self._study.end(number, OptunaState.PRUNED)
            self._decisions.by_rank([number], "stopped")
        else:
            self._study.note(number, **{PAUSED: running.epoch})
            self._decisions.by_rank([number], "paused")
        del self._running[number]
        self._ends.early(self._missing)

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
        self._decisions.say(number, "again", f"its worker was lost: {failure.reason}")
        del self._running[number]

    def _store(self, number: int, report: Mapping[str, Any]) -> None:
        """Keep a report; one that a restarted worker repeats changes nothing."""
        running, epoch = self._running[number], int(report.get("epoch", 0))
        value = report.get(METRIC)
        if value is None or not math.isfinite(value) or epoch <= running.epoch:
            return
        running.epoch = epoch
        store(self._study, number, report, self._objectives)

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
            why = f"{failure.reason}; it is tried once with no trial beside it"
            self._decisions.say(number, "again", why)
            return
        self._study.note(number, **{REASON: failure.reason})
        self._study.end(number, OptunaState.FAIL)
        self._decisions.say(number, "failed", failure.reason)
        self._ends.early(self._missing)
