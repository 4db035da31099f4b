"""A running search as a forecast sees it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial

from orchestrator.compare.decisions import comparison_of
from orchestrator.forecast.future import Rules
from orchestrator.forecast.seen import Now, Seen
from orchestrator.place.cost import BACKBONE
from orchestrator.run.as_records import LATEST, TWIN
from orchestrator.run.run import Run
from orchestrator.run.spending import trials_since_best
from orchestrator.space.conditions import INIT
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import Listener, TrialJob
from orchestrator.trials.records import TrialState

NEWEST = 3  # epochs of a trial by which its pace is told
REMEMBERED = 20  # jobs by which it is told how many run at once, and what they take beside epochs


@dataclass
class _Clock:
    """Of a job: when a worker had it, when its last epoch ended, and the training seconds then."""

    started: float
    last: float
    before: float
    epochs: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=NEWEST + 1))


class Following(Listener):
    """Keeps what a study does not: how fast the newest epochs were, and who is at work."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._comparison = comparison_of(run.space, run.config)
        self._at_work: dict[int, _Clock] = {}
        self._paces: dict[int, float] = {}
        self._drifts: dict[int, float] = {}
        self._beside: deque[float] = deque(maxlen=REMEMBERED)
        self._counts: deque[int] = deque(maxlen=REMEMBERED)

    def started(self, job: TrialJob) -> None:
        """It is at work."""
        now, latest = self._clock(), self._latest(job.number)
        seconds = float(latest.get("seconds", 0.0))
        self._at_work[job.number] = _Clock(now, now, seconds)
        self._at_work[job.number].epochs.append((int(latest.get("epoch", 0)), seconds))
        self._counts.append(len(self._at_work))

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """Tell its pace."""
        clock = self._at_work.get(job.number)
        if clock is None or "seconds" not in report:
            return
        clock.last = self._clock()
        clock.epochs.append((int(report["epoch"]), float(report["seconds"])))
        (first, before), (last, after) = clock.epochs[0], clock.epochs[-1]
        if last > first and after > before:
            self._paces[job.number] = (after - before) / (last - first)
            if first and before:
                self._drifts[job.number] = self._paces[job.number] / (before / first)

    def ended(self, job: TrialJob) -> None:
        """It is at work no more."""
        clock = self._at_work.pop(job.number, None)
        if clock is not None:
            trained = float(self._latest(job.number).get("seconds", 0.0)) - clock.before
            self._beside.append(max(0.0, self._clock() - clock.started - trained))

    lost = ended

    def trials(self) -> list[Seen]:
        """All trials that train for themselves, by number."""
        return self._own(self._run.study.trials)

    def at_work(self) -> list[Seen]:
        """Those of them that a worker has."""
        working = self._own(map(self._run.study.trial, sorted(self._at_work)))
        return [trial for trial in working if trial.now is Now.WORKING]

    def _own(self, trials: Iterable[FrozenTrial]) -> list[Seen]:
        return [self._seen(trial) for trial in trials if TWIN not in trial.user_attrs]

    def _seen(self, trial: FrozenTrial) -> Seen:
        number, latest = trial.number, self._latest(trial.number)
        epoch, clock = int(latest.get("epoch", 0)), self._at_work.get(trial.number)
        mean = float(latest.get("seconds", 0.0)) / epoch if epoch else 0.0
        pace = self._paces.get(number, mean)
        return Seen(
            number,
            self._comparison.steps(trial.params),
            self._now(number),
            epoch=epoch,
            values=dict(trial.intermediate_values),
            pace=pace or None,
            drift=self._drifts.get(number, 1.0),
            kind=kind_of(trial.params),
            work=self._comparison.cost(trial.params),
            since=0.0 if clock is None else self._clock() - clock.last,
        )

    def _now(self, number: int) -> Now:
        state = self._run.study.record(number).state
        if state.is_over:
            return Now.OVER
        if number in self._at_work:
            return Now.WORKING
        return Now.PAUSED if state is TrialState.PAUSED else Now.WAITING

    def _latest(self, number: int) -> Mapping[str, Any]:
        latest: Mapping[str, Any] = self._run.study.trial(number).user_attrs.get(LATEST, {})
        return latest

    def rules(self) -> Rules:
        """How the search goes on."""
        study, space, budget = self._run.study, self._run.space, self._run.config.budget
        most = min(space.budget.trials, points_of(space))
        begun = len(study.trials)
        own = sum(TWIN not in trial.user_attrs for trial in study.trials)
        return Rules(
            new=round(max(0, most - begun) * (own / begun if begun else 1.0)),
            shares=self._comparison.shares(),
            at_once=max(self._counts, default=1),
            overhead=fmean(self._beside) if self._beside else 0.0,
            pauses=self._run.config.search.scheduler != "asha",
            patience=budget.patience,
            since_best=trials_since_best(study) if budget.patience else 0,
        )


def kind_of(params: Mapping[str, Any]) -> str:
    """What trials have in common whose epochs take about as long: what network they train."""
    return " ".join(str(params[key]) for key in (BACKBONE, INIT) if key in params)


def points_of(space: SearchSpace) -> float:
    """How many points a space has at most; infinite with a range of real numbers."""
    found = 1.0
    for parameter in space.parameters.values():
        low, high = parameter.values[0], parameter.values[-1]
        if parameter.kind == "choice":
            found *= len(parameter.values)
        elif parameter.kind == "int":
            found *= (high - low) // parameter.step + 1
        else:
            return math.inf
    return found
