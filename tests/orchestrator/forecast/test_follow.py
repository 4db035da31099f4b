from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

from sessions import make_run

from orchestrator.compare.halving import Halving
from orchestrator.forecast.follow import Following, points_of
from orchestrator.forecast.seen import Now
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace

BACKBONE = "model.backbone"


def space_of(*parameters: Parameter) -> SearchSpace:
    budget = Budget(trials=9, epochs=8, grace_epochs=4, reduction_factor=2)
    named = {parameter.key: parameter for parameter in parameters}
    return SearchSpace("test", "", fixed={}, parameters=named, warm_start=(), budget=budget)


def test_the_points_of_a_space_are_counted_where_they_can_be():
    choice, whole = Parameter("a", "choice", (1, 2, 3)), Parameter("b", "int", (2, 8), step=2)
    assert points_of(space_of(choice, whole)) == 12
    assert points_of(space_of(choice, Parameter("c", "uniform", (0.0, 1.0)))) == math.inf


def test_a_job_is_followed_from_its_start_to_its_pause(tmp_path: Path):
    """Of epochs of 10, 20, 20 and 20 seconds, in 75 of the clock, the newest three count.

    They took twice what the one before did. Of two backbones that the space has one point is
    begun, so one is new.
    """
    run = make_run(tmp_path, space_of(Parameter(BACKBONE, "choice", ("resnet18", "resnet34"))))
    now = [100.0]
    jobs, following = SearchJobs(run, Halving(8, 4, 2)), Following(run, lambda: now[0])
    job = jobs.next_job()
    assert job is not None
    following.started(job)
    now[0] += 5.0
    for epoch, seconds in enumerate((10.0, 30.0, 50.0, 70.0), 1):
        report = {"epoch": epoch, "best_hmean": 0.1 * epoch, "seconds": seconds}
        now[0] = 105.0 + seconds
        jobs.reported(job, report)
        following.reported(job, report)
        if epoch == 2:
            now[0] += 3.0
            trial = following.trials()[0]
            assert (trial.now, trial.epoch, trial.pace, trial.since) == (Now.WORKING, 2, 15.0, 3.0)
    jobs.ended(job, report)
    following.ended(job)
    trial, rules = following.trials()[0], following.rules()
    assert (trial.now, trial.steps, trial.reached) == (Now.PAUSED, (4, 8), 1)
    assert (trial.pace, trial.drift, trial.since) == (20.0, 20 / 10, 0.0)
    assert trial.kind in ("resnet18", "resnet34")
    assert (rules.new, rules.at_once, rules.overhead) == (1, 1, 5.0)
    assert rules.shares == (Fraction(1, 2),)
