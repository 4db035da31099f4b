"""Which trainings with new seeds come next, and what is kept of them; without Ray."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.trial import FixedTrial
from optuna.trial import TrialState as OptunaState
from sessions import make_run

from orchestrator.config.settings import ConfirmConfig
from orchestrator.events.kinds import Event, untold
from orchestrator.events.lines import line_of
from orchestrator.propose.confirmation import (
    SeedJobs,
    extra_cost,
    is_confirmed,
    trainings,
)
from orchestrator.run.run import Run
from orchestrator.run.spending import spending
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.failure import Failure, Kind, Sharing
from orchestrator.trials.job import Twin
from orchestrator.trials.records import TrialState

RATIO = "loss.negative_ratio"
FINISHED = TrialState.FINISHED


def make_space(**fixed) -> SearchSpace:
    return SearchSpace(
        name="test",
        description="",
        fixed=fixed,
        parameters={
            RATIO: Parameter(RATIO, "uniform", (1.0, 8.0)),
            "postprocess.thresh": Parameter("postprocess.thresh", "uniform", (0.1, 0.5)),
        },
        warm_start=(),
        budget=Budget(trials=4, epochs=2, grace_epochs=2, reduction_factor=2),
    )


@pytest.fixture
def confirming(tmp_path):
    """`confirming(points, top=, seeds=)`: a run whose trials of these points have finished.

    Their scores fall from 0.90 in steps of 0.01.
    """

    def make(points, space=None, **confirm) -> Run:
        run = make_run(tmp_path, space or make_space(), confirm=confirm)
        for place, point in enumerate(points):
            fixed = FixedTrial(point)
            run.space.suggest(fixed)
            score = 0.9 - place / 100
            latest = {"best_hmean": score, "epoch": 2, "seconds": 1.0}
            kept = run.study.begin(point, fixed.distributions, latest=latest)
            run.study.report(kept.number, 2, score)
            run.study.end(kept.number, OptunaState.COMPLETE)
        return run

    return make


def seed_jobs(run, tell=untold, **more) -> SeedJobs:
    return SeedJobs(run.study, trainings(run), tell, **more)


def lines(told) -> list[str]:
    return [line for line in map(line_of, told) if line]


def last(score=0.8):
    return {"best_hmean": score, "epoch": 2, "best_epoch": 1.0, "finished": True, "seconds": 2.5}


POINT = {RATIO: 2.0, "postprocess.thresh": 0.2}


def test_seeds_follow_the_trials_own_and_wrap_at_the_largest(confirming, tmp_path):
    space = make_space(**{"train.seed": 2**31 - 2})
    every = trainings(confirming([POINT], space, top=3, seeds=3))
    assert [training.seed for training in every] == [2**31 - 1, 0, 1]
    assert every[1].folder == tmp_path / "trials/00000/seeds/0"


def test_trainings_that_differ_in_postprocessing_alone_are_made_once(confirming, tmp_path):
    points = [
        {RATIO: ratio, "postprocess.thresh": t} for ratio, t in ((2, 0.2), (2, 0.3), (3, 0.2))
    ]
    run = confirming(points, top=3, seeds=1)
    told: list[Event] = []
    jobs = seed_jobs(run, told.append)
    one = jobs.next_job()
    assert (one.number, one.seed, one.params) == (0, 1, points[0])
    third = jobs.next_job()
    assert third.number == 2  # the second waits for the first
    assert jobs.next_job() is None
    jobs.ended(one, last())
    second = jobs.next_job()
    assert second.twin == Twin(
        source=tmp_path / "trials/00000/seeds/1", epochs=2, best_epoch=1, finished=True
    )
    assert jobs.next_job() is None
    jobs.ended(second, last(0.85))
    jobs.ended(third, {"error": "it broke"})
    assert jobs.next_job() is None
    assert lines(told) == [
        "trial 00000 seed 1: H-mean 0.8000 (first 0.9000)",
        "trial 00001 seed 1: H-mean 0.8500 (first 0.8900)",
        "trial 00002 seed 1: failed: it broke (first 0.8800)",
    ]
    begun = [(e.trial, e.seed, e.why) for e in told if e.kind == "proposed"]
    assert begun == [(f"0000{n}", 1, "confirmation") for n in (0, 2, 1)]
    assert [e.record["confirmed"] for e in told if e.kind == "confirmation"] == [[0.8], [0.85], []]
    assert is_confirmed(run)
    more = run.config.model_copy(update={"confirm": ConfirmConfig(top=3, seeds=2)})
    assert not is_confirmed(replace(run, config=more))
    # Three trials of two epochs and a second each, two trainings of two and of 2.5 seconds.
    assert (spending(run.study).epochs, spending(run.study).seconds) == (10, 8.0)
    records = run.records()
    assert [r.confirmed for r in records] == [(0.8,), (0.85,), ()]
    assert [r.reason for r in records] == [None, None, "seed 1 failed: it broke"]


def test_an_equal_training_that_failed_leaves_the_other_to_train(confirming):
    run = confirming([POINT, POINT | {"postprocess.thresh": 0.3}], top=2, seeds=1)
    jobs = seed_jobs(run)
    jobs.lost(jobs.next_job(), Failure(Kind.BUG, "its worker was lost 4 times"))
    assert jobs.next_job().twin is None
    reasons = [r.reason for r in run.records()]
    assert reasons == ["seed 1 failed: its worker was lost 4 times", None]


def test_a_lost_worker_is_replaced_until_it_gets_no_further(confirming):
    run = confirming([POINT], top=1, seeds=1)
    jobs = seed_jobs(run)
    for epoch in (1, 1, 1, 2, 2, 2, 2):
        assert jobs.left == 1
        job = jobs.next_job()
        assert job.seed == 1
        jobs.reported(job, {"epoch": epoch})
        jobs.lost(job, Failure(Kind.LOST_NODE, "the machine went away"))
    assert jobs.next_job() is None
    (record,) = run.records()
    assert record.reason == (
        "seed 1 failed: its worker was lost 4 times after epoch 2: the machine went away"
    )


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ({}, "it ended without a score"),
        ({"epoch": 1}, "it ended without a score"),
        (last(float("nan")), "its score is not a finite number: best_hmean is nan"),
        (last() | {"finished": False, "epoch": 1}, "it ended after epoch 1, before the last one"),
    ],
)
def test_a_training_without_a_final_score_has_failed(confirming, report, reason):
    run = confirming([POINT], top=1, seeds=1)
    jobs = seed_jobs(run)
    jobs.ended(jobs.next_job(), report)
    (record,) = run.records()
    assert (record.confirmed, record.reason) == ((), f"seed 1 failed: {reason}")


def test_the_cost_names_the_trainings_that_come_on_top():
    assert extra_cost(ConfirmConfig(), make_space()) == ""
    assert extra_cost(ConfirmConfig(top=3, seeds=2), make_space()) == (
        "; confirm.top=3 confirm.seeds=2 adds up to 6 whole trainings of 2 epochs"
    )


def test_results_are_kept_in_the_order_of_seeds(confirming):
    run = confirming([POINT])
    before = run.records()
    result = {"iou_hmean": None, "epochs": 2, "best_epoch": 1, "seconds": 1.0, "reason": None}
    for seed, score in ((12, 0.3), (2, 0.1), (11, 0.2)):
        run.study.keep_confirmation("00000", seed, result | {"hmean": score})
    (record,) = run.records()
    assert record.confirmed == (0.1, 0.2, 0.3)
    assert [replace(record, confirmed=())] == before


def test_a_training_without_memory_beside_others_is_made_once_alone(confirming):
    run, told = confirming([POINT], top=1, seeds=1), []
    jobs = seed_jobs(run, told.append, sharing=Sharing(gpu=True, machine=True))
    first = jobs.next_job()
    jobs.ended(first, {"error": "out of memory: CUDA out of memory"})
    again = jobs.next_job()
    assert (first.alone, again.alone, again.key) == (False, True, first.key)
    assert lines(told) == [
        "trial 00000 seed 1: out of memory: CUDA out of memory; it is tried once with no training "
        "beside it"
    ]
    jobs.lost(again, Failure(Kind.NODE_OUT_OF_MEMORY, "out of memory: its machine ran low"))
    assert jobs.next_job() is None
    assert run.records()[0].reason == "seed 1 failed: out of memory: its machine ran low"
