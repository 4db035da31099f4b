"""Searches of this project that look trainings up, on a clock of their own.

The decisions are those of `orchestrator.propose`, with Optuna; Ray is left out, so that hours take
seconds and a moment can be looked at again.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from replay import Table
from table_run import run_over

from orchestrator.compare.decisions import halving_of
from orchestrator.config.settings import SearchConfig
from orchestrator.forecast.follow import Following
from orchestrator.forecast.future import Rules
from orchestrator.forecast.seen import Seen
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.run.run import Run
from orchestrator.space.parameters import Budget
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import TrialJob


@dataclass(frozen=True)
class Moment:
    """A search at a time of its clock, when a job was over or begun.

    worth: H-mean over all pages of what it would ship. epochs: trained by all trials.
    """

    seconds: float
    epochs: int
    score: float
    worth: float
    trials: tuple[Seen, ...]
    rules: Rules


@dataclass(frozen=True)
class Pass:
    """What a search that was run through left: its moments; and each job with its times."""

    moments: tuple[Moment, ...]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.moments[-1].seconds


@dataclass(frozen=True)
class Plan:
    """A search over a table: trials that it may begin, rungs at grace * factor^k, jobs at once."""

    trials: int
    grace: int
    factor: int
    at_once: int
    stretch: float = 1.0  # seconds of the clock for each recorded one


def run_through(table: Table, seconds: NDArray[np.float64], plan: Plan, seed: int) -> Pass:
    """A search by the cross-fitted H-mean, as `own` of `replay_policies.py` runs it on Ray."""
    clock = [0.0]
    run = run_of(table, plan, seed)
    following, jobs = Following(run, lambda: clock[0]), SearchJobs(run, halving_of(run))
    rows = {tuple(config.values()): row for row, config in enumerate(table.configs)}
    keys = tuple(table.configs[0])
    spent = np.diff(seconds, axis=1, prepend=0.0) * plan.stretch
    done: dict[int, int] = {}
    at_work: list[tuple[float, int, TrialJob, int]] = []
    best, epochs = (-1.0, 0.0), 0
    moments = []

    def begin(job: TrialJob, epoch: int) -> None:
        row = rows[tuple(job.params[key] for key in keys)]
        heapq.heappush(at_work, (clock[0] + spent[row, epoch], job.number, job, epoch + 1))

    def moment() -> None:
        moments.append(
            Moment(clock[0], epochs, *best, tuple(following.trials()), following.rules())
        )

    while True:
        while len(at_work) < plan.at_once and (job := jobs.next_job()):
            following.started(job)
            begin(job, done.get(job.number, 0))
        if not at_work:
            return Pass(tuple(moments))
        clock[0], _, job, epoch = heapq.heappop(at_work)
        row = rows[tuple(job.params[key] for key in keys)]
        report = report_of(table, row, epoch, float(spent[row, :epoch].sum()))
        done[job.number], epochs = epoch, epochs + 1
        best = max(
            best, (report["hmean"], float(table.shipped[row, epoch - 1])), key=lambda b: b[0]
        )
        if epoch < min(job.until or table.epochs, table.epochs):
            jobs.reported(job, report)
            following.reported(job, report)
            if jobs.is_hopeless(job, report):
                jobs.ended(job, report)
                following.ended(job)
            else:
                begin(job, epoch)
        else:
            jobs.ended(job, report)
            following.reported(job, report)
            following.ended(job)
        moment()


def report_of(table: Table, row: int, epoch: int, seconds: float) -> dict[str, Any]:
    """What a trial that stands for this training reports after an epoch."""
    values = table.crossfit[row, :epoch].tolist()
    return {
        "epoch": epoch,
        "hmean": values[-1],
        "best_hmean": max(values),
        "best_epoch": values.index(max(values)) + 1,
        "finished": epoch == table.epochs,
        "seconds": seconds,
    }


def run_of(table: Table, plan: Plan, seed: int) -> Run:
    """A run whose space is that of the table."""
    space = SearchSpace(
        name="replay",
        description="",
        fixed={},
        parameters={parameter.key: parameter for parameter in table.space},
        warm_start=(),
        budget=Budget(
            trials=plan.trials,
            epochs=table.epochs,
            grace_epochs=plan.grace,
            reduction_factor=plan.factor,
        ),
    )
    config = SearchConfig.model_validate({"space": "replay", "seed": seed})
    return run_over(table, Path("replay"), space, config)
