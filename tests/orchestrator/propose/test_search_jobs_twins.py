"""Trials with one training between them; on a real database and without Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from job_sessions import (
    BACKBONE,
    HALVING,
    RATIO,
    Session,
    by_ratio,
    fail,
    make_space,
    result,
)

from orchestrator.compare.halving import Halving
from orchestrator.propose.search_jobs import AHEAD
from orchestrator.space.parameters import Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import Twin


def test_trials_that_wait_for_the_weights_of_another_could_not_run_at_once(tmp_path):
    session = joint_session(tmp_path, 0.3, 0.4, 0.5)
    session.next("a")
    session.next("b")  # proposes the others
    assert session.jobs.at_once == 1
    session.end("a", result(4, 0.5, finished=True, best_epoch=3.0))
    assert session.jobs.at_once == 2


THRESH = "postprocess.box_thresh"


def joint_session(folder, *thresholds, more=(), **options):
    """A session whose first points all train alike, and then those of `more`."""
    alike = [{BACKBONE: "resnet18", RATIO: 3.0, THRESH: t} for t in thresholds]
    space = make_space([*alike, *more], len(thresholds) + len(more))
    space = replace(
        space, parameters=space.parameters | {THRESH: Parameter(THRESH, "uniform", (0.1, 0.9))}
    )
    return Session(folder, space=space, **options)


def test_trials_that_differ_in_postprocessing_alone_are_trained_once(tmp_path):
    session = joint_session(tmp_path, 0.3, 0.4, 0.5)
    first = session.next("a")
    assert session.next("b") is None  # all of them need the first one's weights
    last = result(4, 0.5, finished=True, best_epoch=3.0)
    session.end("a", last)
    jobs = [session.next(name) for name in "bc"]
    twin = Twin(Path(first.folder), epochs=4, best_epoch=3, finished=True)
    assert [job.twin for job in jobs] == [twin, twin]
    assert [job.params[THRESH] for job in jobs] == [0.4, 0.5]
    for name, job in zip("bc", jobs, strict=True):
        last = result(4, job.params[THRESH], finished=True)
        session.end(name, last)
    assert session.states() == ["COMPLETE"] * 3
    assert session.trial(2).user_attrs["same_weights_as"] == 0


def test_a_trial_waits_for_the_weights_of_one_that_is_paused_to_the_end(tmp_path):
    other = {BACKBONE: "resnet34", RATIO: 8.0, THRESH: 0.5}
    session = joint_session(tmp_path, 0.3, 0.4, more=[other], halving=HALVING)
    assert session.run("a", by_ratio) == (0, 1)
    jobs = [session.run(name, by_ratio) for name in "bcd"]
    assert jobs == [(2, 1), (2, 2), (2, 4)]
    job = session.next("e")
    assert (job.number, job.twin.epochs, job.twin.finished) == (1, 1, False)
    session.end("e", result(1, 0.35))
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "PRUNED", "COMPLETE"]


def two_trainings(trials) -> SearchSpace:
    """A space of which every point has one of two trainings."""
    parameters = {
        BACKBONE: Parameter(BACKBONE, "choice", ("resnet18", "resnet34")),
        THRESH: Parameter(THRESH, "uniform", (0.1, 0.9)),
    }
    return replace(make_space(trials=trials), parameters=parameters)


def test_trials_are_not_proposed_ahead_of_the_scores_that_guide_them(tmp_path):
    space = two_trainings(trials=40)  # of which 38 can only wait for the others
    session = Session(tmp_path, space=space)
    at_work = [name for name in "abcd" if session.next(name)]  # four workers ask for work
    for _ in range(50):
        assert session.next("more") is None
    assert len(session.study.trials) <= len(at_work) + AHEAD
    session.end("a", result(4, 0.5, finished=True))
    assert session.next("a twin").twin is not None


def test_trials_that_wait_for_paused_ones_make_these_go_on(tmp_path):
    space = two_trainings(trials=12)
    session = Session(tmp_path, space=space, halving=Halving(epochs=9, grace=1, factor=3))
    trained, proposed = [], []
    while (job := session.next("x")) is not None:
        trained.append(job.twin is None)
        proposed.append(len(session.study.trials))
        session.end(
            "x", result(job.until or 9, job.params[THRESH], finished=job.until in (9, None))
        )
    assert sum(trained) <= 6  # two trainings of three rungs
    assert proposed[2] <= 2 + AHEAD
    assert len(session.study.trials) == 12
    assert set(session.states()) == {"COMPLETE", "PRUNED"}


def test_a_failed_training_leaves_its_twin_to_train(tmp_path):
    session = joint_session(tmp_path, 0.3, 0.4)
    session.next("a")
    fail(session, "a")
    assert session.next("b").twin is None
