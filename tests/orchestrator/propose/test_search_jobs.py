"""Which job comes next and what the study says of it, on a real database and without Ray."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace

import pytest
from job_sessions import (
    BACKBONE,
    RATIO,
    SPEED,
    Session,
    fail,
    make_space,
    proposed_after,
    result,
)
from optuna.storages import RDBStorage
from optuna.trial import TrialState as OptunaState

from detector.core.errors import InputError
from orchestrator.propose.points import identity
from orchestrator.propose.proposals import HMEAN
from orchestrator.run import study as store
from orchestrator.space.parameters import Parameter
from orchestrator.trials.failure import Failure, Kind
from orchestrator.trials.records import TrialState


def test_a_trial_that_ran_to_the_end_is_complete(tmp_path):
    session = Session(tmp_path)
    session.next("a")
    session.report("a", result(1, 0.5))
    last = result(2, 0.75, finished=True)
    session.report("a", last)
    session.end("a", last | {"done": True})
    trial = session.trial(0)
    assert trial.state is OptunaState.COMPLETE
    assert trial.value == 0.75
    assert trial.intermediate_values == {1: 0.5, 2: 0.75}


def test_a_stopped_trial_is_pruned_and_keeps_its_last_report(tmp_path):
    # Tune does not pass the report that a scheduler stops at to on_trial_result.
    session = Session(tmp_path)
    session.next("a")
    session.report("a", result(1, 0.5))
    session.end("a", result(2, 0.625, done=True))
    trial = session.trial(0)
    assert trial.state is OptunaState.PRUNED
    assert trial.intermediate_values == {1: 0.5, 2: 0.625}
    assert trial.value == 0.625


@pytest.mark.parametrize(("epochs", "score"), [(0, math.nan), (1, math.nan), (1, math.inf)])
def test_a_score_that_is_no_number_fails_the_trial(tmp_path, epochs, score):
    session = Session(tmp_path)
    session.next("a")
    for epoch in range(1, epochs + 1):
        session.report("a", result(epoch, 0.5))
    session.report("a", result(epochs + 1, score))
    session.end("a", result(epochs + 1, score))
    assert session.trial(0).state is OptunaState.FAIL
    assert "not a finite number" in session.study.records()[0].reason


def test_a_trial_that_reports_its_own_error_fails_once_with_its_reason(tmp_path):
    session = Session(tmp_path)
    session.next("a")
    session.report("a", {"error": "ValueError: no"})
    session.end("a", {"error": "ValueError: no", "done": True})
    (record,) = session.study.records()
    assert (record.state, record.reason) == (TrialState.FAILED, "ValueError: no")


def test_a_lost_worker_fails_the_trial_with_the_reason_given_before(tmp_path):
    session = Session(tmp_path)
    session.next("a")
    session.report("a", result(1, 0.5))
    session.lose("a", Failure(Kind.NODE_OUT_OF_MEMORY, "out of memory"))
    (record,) = session.study.records()
    assert (record.state, record.reason) == (TrialState.FAILED, "out of memory")
    assert record.hmean == 0.5


def test_a_lost_worker_is_the_next_job_again_a_few_times(tmp_path):
    session = Session(tmp_path)
    for name in "abcd":
        assert session.next(name).number == 0
        assert session.study.records()[0].state is TrialState.RUNNING
        session.lose(name)
    (record,) = session.study.records()
    reason = "its worker was lost 4 times after epoch 0: nothing is known of it"
    assert (record.state, record.reason) == (TrialState.FAILED, reason)


def test_a_trial_without_any_report_fails(tmp_path):
    session = Session(tmp_path)
    for name, last in [("a", None), ("b", {}), ("c", {"done": True})]:
        session.next(name)
        session.end(name, last)
    reasons = [r.reason for r in session.study.records()]
    assert reasons == ["it ended without a score"] * 3


def test_repeated_reports_change_nothing(tmp_path):
    # A worker started again reports epochs that it reported before.
    session = Session(tmp_path)
    session.next("a")
    for epoch, best in [(1, 0.5), (2, 0.6), (1, 0.1), (2, 0.2), (3, 0.7)]:
        session.report("a", result(epoch, best))
    assert session.trial(0).intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7}


def test_records_hold_the_best_epochs_figures(tmp_path):
    session = Session(tmp_path)
    session.next("a")
    figures = {
        "best_epoch": 1.0,
        "best_precision": 0.75,
        "best_recall": 0.5,
        "best_hmean_pooled": 0.25,
        "best_iou_hmean": 0.125,
        "best_tuned_hmean": 0.65,
        "best_tuned_box_thresh": 0.55,
        "best_crossfit_hmean": 0.625,
        "params_m": 12.5,
        "seconds": 30.0,
        "checkpoint": "trials/00000_resnet18/checkpoint/best",
    }
    session.report("a", result(1, 0.6, page_hmeans={"a.png": 0.5, "b.png": 0.7}, **figures))
    session.report("a", result(2, 0.6, hmean=0.4, **(figures | {"seconds": 60.0})))
    (record,) = session.study.records()
    assert (record.trial, record.state) == ("00000", TrialState.RUNNING)
    assert (record.hmean, record.precision, record.recall) == (0.6, 0.75, 0.5)
    assert (record.hmean_pooled, record.iou_hmean, record.params_m) == (0.25, 0.125, 12.5)
    assert (record.tuned_hmean, record.crossfit_hmean) == (0.65, 0.625)
    assert record.tuned == {"postprocess.box_thresh": 0.55}
    assert (record.epochs, record.best_epoch, record.seconds) == (2, 1, 60.0)
    assert record.page_hmeans == (0.5, 0.7)
    assert record.checkpoint == figures["checkpoint"]
    assert set(record.params) == {BACKBONE, RATIO}


def test_page_scores_of_an_older_best_epoch_are_not_shown(tmp_path):
    session = Session(tmp_path)
    session.next("a")
    session.report("a", result(1, 0.6, best_epoch=1.0, page_hmeans={"a.png": 0.6}))
    session.report("a", result(3, 0.8, best_epoch=2.0))  # 2 was lost
    assert session.study.records()[0].page_hmeans is None


def test_warm_starts_come_first_and_in_order(tmp_path):
    points = [{BACKBONE: "resnet34", RATIO: 3.5}, {BACKBONE: "resnet18", RATIO: 2.5}]
    session = Session(tmp_path, warm_start=points)
    assert [session.next(name).params for name in "ab"] == points
    third = session.next("c")
    assert third.number == 2
    assert third.params not in points


def test_no_more_trials_than_asked_for(tmp_path):
    session = Session(tmp_path, trials=2)
    session.next("a")
    session.next("b")
    assert session.next("c") is None  # it depends on the two
    fail(session, "a")
    assert session.next("d") is None
    assert session.jobs.left == 1
    fail(session, "b")
    assert session.next("e") is None
    assert session.jobs.left == 0


def test_after_a_killed_driver_running_trials_are_taken_up_again(tmp_path):
    killed = Session(tmp_path)
    first = [killed.next(name) for name in "abc"]
    killed.report("a", result(1, 0.5))
    killed.report("b", result(1, 0.5))
    killed.end("b", result(2, 0.5, finished=True))

    session = Session(tmp_path, resume=True)
    assert [session.next(name) for name in "xy"] == [first[0], first[2]]
    session.report("x", result(1, 0.1))  # reported before the kill
    session.end("x", result(2, 0.6, finished=True))
    fail(session, "y")
    fourth = session.next("z")
    assert fourth.number == 3
    session.end("z", result(1, 0.3))
    assert session.next("more") is None
    states = [t.state.name for t in session.study.trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "PRUNED"]
    assert session.trial(0).intermediate_values == {1: 0.5, 2: 0.6}


def test_a_trial_is_proposed_with_all_its_settings_or_not_at_all(tmp_path, monkeypatch):
    session = Session(tmp_path)
    write = RDBStorage._set_trial_attr_without_commit
    monkeypatch.setattr(RDBStorage, "_set_trial_attr_without_commit", None)  # a kill: it is called
    with pytest.raises(TypeError):
        session.next("a")
    monkeypatch.setattr(RDBStorage, "_set_trial_attr_without_commit", write)
    assert Session(tmp_path, resume=True).study.trials == []
    assert session.next("a").number == 0


def test_a_resumed_session_proposes_what_the_first_would_have(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()

    def propose(session, names):
        points = []
        for name in names:
            points.append(session.next(name).params)
            score = 1 / points[-1][RATIO]
            session.end(name, result(4, score, finished=True))
        return points

    expected = propose(Session(whole, trials=12), "abcdefghijkl")
    got = propose(Session(halves, trials=12), "abcdef")
    got += propose(Session(halves, trials=12, resume=True), "ghijkl")
    assert got == expected
    assert len({identity(point) for point in got}) == 12


def test_another_seed_proposes_other_points(tmp_path):
    points = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        points.append(Session(folder, seed=seed).next("a").params[RATIO])
    assert points[0] != points[1]


def test_stopped_trials_do_not_look_better_than_finished_ones_to_the_sampler(tmp_path):
    # Points over the range: left of 4 they finish well, right of it they are stopped.
    later = proposed_after(tmp_path, left=result(4, 0.9, finished=True), right=result(1, 0.3))
    assert sum(ratio < 5 for ratio in later) >= 7


def test_no_point_is_tried_twice_and_a_small_space_is_over_when_all_were(tmp_path):
    space = replace(
        make_space(trials=50),
        parameters={
            BACKBONE: Parameter(BACKBONE, "choice", ("resnet18", "resnet34")),
            RATIO: Parameter(RATIO, "choice", (1.0, 2.0, 3.0)),
        },
    )
    session = Session(tmp_path, trials=50, space=space)
    tried = []
    while (job := session.next(str(len(tried)))) is not None:
        tried.append(tuple(job.params.values()))
        # The sampler would propose the best point for ever.
        last = result(4, 0.9 if job.params[RATIO] == 2.0 else 0.1, finished=True)
        session.end(str(len(tried) - 1), last)
    assert sorted(tried) == [(b, r) for b in ("resnet18", "resnet34") for r in (1.0, 2.0, 3.0)]


@pytest.mark.parametrize(("objectives", "low", "high"), [(HMEAN, 5.5, 8.0), (SPEED, 1.0, 8.0)])
def test_the_sampler_looks_at_all_objectives(tmp_path, objectives, low, high):
    """H-mean grows with the ratio, and so does the latency: every ratio is a fair trade-off."""
    session = Session(tmp_path, trials=60, objectives=objectives)
    ratios = []
    for i in range(60):
        job = session.next(str(i))
        ratios.append(job.params[RATIO])
        last = result(4, ratios[-1] / 10, finished=True, latency_ms=ratios[-1] ** 3)
        session.end(str(i), last)
    later = sorted(ratios[30:])
    assert low <= later[3]
    assert later[-4] <= high
    assert (later[3] < 4) == (objectives == SPEED)  # fast ones are looked for too


def test_a_study_of_that_name_is_not_reused_silently(tmp_path):
    Session(tmp_path)
    with pytest.raises(InputError, match=r"holds a study called 'run' already.*resume=true"):
        Session(tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/study.db"])
def test_a_database_that_cannot_be_opened_is_named(url):
    with pytest.raises(InputError, match=f"storage: {url} cannot be used"):
        store.open_study(url, "run", resume=False)


def test_a_reader_does_not_stop_the_search(tmp_path):
    session = Session(tmp_path)
    session.next("a")
    with sqlite3.connect(tmp_path / "study.db") as reader:
        reader.execute("select * from trials").fetchall()
        session.report("a", result(1, 0.5))
    assert session.trial(0).intermediate_values == {1: 0.5}
