"""Optuna behind Ray Tune: proposes trials and tells the study honestly how each one ended.

Ray's own OptunaSearch tells Optuna that a trial stopped early is complete, leaves a trial
without a finite score running for ever, and cannot be restored after its driver was killed.
Here the study is the only state: every call writes through to its database.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from orchestrator.propose.halving import Halving, Progress, leader, next_stop, promotable
from orchestrator.propose.job_searcher import JobSearcher
from orchestrator.propose.proposals import HMEAN, propose
from orchestrator.propose.twins import Twin, twin_of
from orchestrator.run import study as store
from orchestrator.run.study import BEST, FOLDER, LATEST, LOST, PAUSED, REASON, TWIN
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.pareto import Objectives
from orchestrator.trials.records import METRIC

NOT_METRICS = ("params", "config", "page_hmeans", "tuned")


@dataclass
class Job:
    """A trial that Tune has: the last epoch stored, and the one to train to (None: the last)."""

    trial: Trial
    epoch: int
    until: int | None


class StudySearcher(JobSearcher):
    """Gives Tune one job after another until the study holds `trials` that have ended.

    A job is a trial and the epoch to train it to. With `halving` that is its next rung: a trial
    that gets there is paused, which the study calls RUNNING, and may be given out again later.
    Without, a job is the whole training, for a scheduler of Tune's to stop. Trials that an earlier
    session left in the middle of a job come first; they go on from their last checkpoint.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        folder: Path,
        *,
        seed: int,
        trials: int,
        halving: Halving | None = None,
        objectives: Objectives = HMEAN,
    ) -> None:
        super().__init__()
        self._study, self._space, self._folder = study, space, folder
        self._seed, self._trials, self._halving = seed, trials, halving
        self._objectives = objectives
        self._live: dict[str, Job] = {}  # by Tune's trial id
        self.is_exhausted = False  # whether there was nothing new to propose

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to run."""
        return not store.unfinished(self._study) and self._proposed() >= self._trials

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job as Tune's config (see `as_trainable`).

        None while what comes next depends on the jobs that are running.
        """
        number = self._next()
        if number is None and not self._live:
            self._stop_paused()
            number = self._next()  # one that waited for a paused trial, see `_waits`
        if number is None:
            return None if self._live else Searcher.FINISHED
        return self._job(trial_id, number)

    def _job(self, trial_id: str, number: int) -> dict[str, Any]:
        stored = self._trials_so_far()[number]
        self._study.sampler = store.sampler(self._seed, number, trials=self._trials)
        trial = Trial(self._study, stored._trial_id)
        # It keeps what it was given, and draws what the kill of its driver cut off.
        params = self._space.suggest(trial)
        name = stored.user_attrs.get(FOLDER)
        if name is None:
            name = folder_name(number, params)
            trial.set_user_attr(FOLDER, name)
        epoch = max(stored.intermediate_values, default=0)
        job: dict[str, Any] = {"number": number, "params": params}
        job["folder"] = str(self._folder / "trials" / name)
        twin = twin_of(number, params, self._trials_so_far())
        if twin is not None:
            trial.set_user_attr(TWIN, twin.number)
            job["twin"] = self._weights_of(twin)
        elif self._halving:
            job["until"] = next_stop(epoch, self._halving.steps(params))
        self._live[trial_id] = Job(trial, epoch, job.get("until"))
        return job

    def _weights_of(self, twin: FrozenTrial) -> Twin:
        latest = twin.user_attrs.get(LATEST, {})
        return Twin(
            source=self._folder / "trials" / twin.user_attrs[FOLDER],
            epochs=int(latest["epoch"]),
            best_epoch=int(latest.get("best_epoch", latest["epoch"])),
            finished=twin.state is OptunaState.COMPLETE,
        )

    def _next(self) -> int | None:
        """The number of the trial to go on with; None when there is none now."""
        while True:
            progress = self._progress()
            resting = [p for p in progress if not p.busy and not p.ended]
            ready = [p for p in resting if not p.is_paused and not self._waits(p.number)]
            if ready:
                return ready[0].number
            if self._halving and (best := promotable(progress, self._halving.factor)):
                return best.number
            if not self._propose():
                break
        # A search ends alike whether there are enough trials or no untried points: the best of
        # each rung go on as ever, and where that finished none, the best of all is finished.
        if self._halving and not self._live and not self._has_finished():
            best = leader(progress, self._halving.factor)
            return best.number if best else None
        return None

    def _waits(self, number: int) -> bool:
        """Whether a trial needs no training of its own but those weights are not ready."""
        trials = self._trials_so_far()
        twin = twin_of(number, trials[number].params, trials)
        return twin is not None and not twin.state.is_finished()

    def _progress(self) -> list[Progress]:
        busy = {job.trial.number for job in self._live.values()}
        return [
            Progress(
                trial.number,
                steps=self._steps(trial),
                values=trial.intermediate_values,
                busy=trial.number in busy,
                ended=trial.state.is_finished(),
                others=self._others(trial),
            )
            for trial in store.proposed(self._study)
            if TWIN not in trial.user_attrs or not trial.state.is_finished()
        ]

    def _steps(self, trial: FrozenTrial) -> tuple[int, ...]:
        if self._halving is None:
            return ()
        # One without a report is at no rung; its settings may have been cut off by a kill.
        return self._halving.steps(trial.params if trial.intermediate_values else None)

    def _others(self, trial: FrozenTrial) -> tuple[float, ...]:
        """What counts beside the H-mean, larger is better; an unknown figure is the worst."""
        if self._objectives == HMEAN or not trial.intermediate_values:
            return ()
        record = store.to_record(trial)
        figures = [(getattr(record, f), way) for f, way in self._objectives if f != "hmean"]
        return tuple(
            -math.inf if value is None else -value if way == "min" else value
            for value, way in figures
        )

    def _propose(self) -> bool:
        """Put a new trial into the study; False when there are enough or nothing is untried."""
        if self.is_exhausted or self._proposed() >= self._trials:
            return False
        trial = propose(
            self._study,
            self._space,
            seed=self._seed,
            trials=self._trials,
            objectives=self._objectives,
        )
        self.is_exhausted = trial is None
        return not self.is_exhausted

    def _trials_so_far(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _proposed(self) -> int:
        return len(store.proposed(self._study))

    def _has_finished(self) -> bool:
        return any(t.state is OptunaState.COMPLETE for t in store.ended(self._study))

    def _stop_paused(self) -> None:
        """The search is over: what is paused now goes no further."""
        for progress in self._progress():
            if progress.is_paused and not progress.ended:
                self._study.tell(progress.number, state=OptunaState.PRUNED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store a report, or end the trial when it reports its own failure."""
        if trial_id not in self._live:
            return
        if result.get("error"):
            self._fail(trial_id, str(result["error"]))
        else:
            self._store(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how the trial ended: COMPLETE, PRUNED or FAIL; or leave it paused."""
        job = self._live.get(trial_id)
        if job is None:  # it failed by its own report
            return
        result = result or {}
        if error:
            reason = self.verdict(trial_id, job.trial.number, job.epoch)
        else:
            reason = self._fault(job, result)
        if reason is not None:
            self._fail(trial_id, reason)
            return
        if error:  # not its own fault: it is the next job again, from its last epoch
            job.trial.set_user_attr(LOST, job.trial.user_attrs.get(LOST, 0) + 1)
            del self._live[trial_id]
            return
        self._store(trial_id, result)
        if result.get("finished"):
            self._study.tell(job.trial, float(result[METRIC]))
        elif job.until is None:
            self._study.tell(job.trial, state=OptunaState.PRUNED)
        else:
            job.trial.set_user_attr(PAUSED, job.epoch)
        del self._live[trial_id]

    def _fault(self, job: Job, result: Mapping[str, Any]) -> str | None:
        """Why a trial that ended has failed; None when it has not."""
        value = result.get(METRIC)
        if result.get("error"):
            return str(result["error"])
        if value is None:
            return "it ended without a score"
        if not math.isfinite(value):
            return f"its score is not a finite number: {METRIC} is {value}"
        epoch = int(result.get("epoch", 0))
        if job.until is not None and epoch < job.until and not result.get("finished"):
            return f"it ended after epoch {epoch}, though it should train to {job.until}"
        return None

    def _store(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keep a report; one that Tune or a restarted worker repeats changes nothing."""
        job, epoch, value = self._live[trial_id], int(result.get("epoch", 0)), result.get(METRIC)
        if value is None or not math.isfinite(value) or epoch <= job.epoch:
            return
        job.epoch = epoch
        if result.get("page_hmeans"):
            best = {
                "epoch": int(result.get("best_epoch", epoch)),
                "hmeans": list(result["page_hmeans"]),
                "tuned": _whole(result, "tuned"),
            }
            job.trial.set_user_attr(BEST, best)
        job.trial.set_user_attr(LATEST, _own_metrics(result))
        job.trial.report(float(value), epoch)

    def _fail(self, trial_id: str, reason: str) -> None:
        trial = self._live.pop(trial_id).trial
        trial.set_user_attr(REASON, reason)
        self._study.tell(trial, state=OptunaState.FAIL)


def folder_name(number: int, params: Mapping[str, Any]) -> str:
    """A short name that sorts by number and says what the trial tries: `00003_resnet18`."""
    for value in params.values():
        if isinstance(value, str):
            tag = "".join(c if c.isalnum() or c in "._-" else "-" for c in value)
            return f"{store.trial_id(number)}_{tag[:40]}"
    return store.trial_id(number)


def _whole(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A mapping of a report, which Tune hands on as `name/key` for each of its keys."""
    start = f"{name}/"
    flat = {k.removeprefix(start): v for k, v in result.items() if k.startswith(start)}
    return flat | dict(result.get(name, {}))


def _own_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """The report without what Tune adds to it (times, host names, the config)."""
    names = result.get("reported") or result.keys()
    own = (name for name in names if name.partition("/")[0] not in NOT_METRICS)
    return {name: result[name] for name in own if name in result}
