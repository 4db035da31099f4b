"""Which job comes next and what the study says of it, on a real database and without Ray."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState as OptunaState
from sessions import make_run
from sqlalchemy import Engine, event

from detector.core.errors import InputError
from orchestrator.compare.halving import Halving
from orchestrator.propose.proposals import HMEAN
from orchestrator.propose.search_jobs import AHEAD, SearchJobs
from orchestrator.run import study as store
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.failure import NOTHING_SHARED, Failure, Kind, Sharing
from orchestrator.trials.job import ANYWHERE, TrialJob, Twin, Where
from orchestrator.trials.pareto import as_objectives
from orchestrator.trials.records import TrialState

SPEED = as_objectives(["hmean", "latency_ms"])
UNKNOWN = Failure(Kind.LOST_WORKER, "nothing is known of it")
RATIO, BACKBONE = "loss.negative_ratio", "model.backbone"


def make_space(warm_start=(), trials=4) -> SearchSpace:
    return SearchSpace(
        name="test",
        description="",
        fixed={},
        parameters={
            BACKBONE: Parameter(BACKBONE, "choice", ("resnet18", "resnet34")),
            RATIO: Parameter(RATIO, "uniform", (1.0, 8.0)),
        },
        warm_start=tuple(warm_start),
        budget=Budget(trials=trials, epochs=4, grace_epochs=1, reduction_factor=2),
    )


class Session:
    """One driver's view of a run folder: open, search, and vanish without a goodbye."""

    def __init__(self, folder: Path, *, resume=False, halving=None, space=None, **settings):
        space = space or make_space(settings.get("warm_start", ()), settings.get("trials", 4))
        figures = [figure for figure, _ in settings.get("objectives", HMEAN)]
        seed, search = settings.get("seed", 0), {"objectives": figures}
        run = make_run(folder, space, resume=resume, seed=seed, search=search)
        self.halving, self.study = halving, run.study
        self.jobs = SearchJobs(run, halving, settings.get("sharing", NOTHING_SHARED))
        self.names: dict[str, TrialJob] = {}

    def trial(self, number):
        return self.study.trial(number)

    def states(self):
        return [trial.state.name for trial in self.study.trials]

    def next(self, name):
        """The next job, which is called so from here on."""
        job = self.jobs.next_job()
        if job is not None:
            self.names[name] = job
        return job

    def report(self, name, report):
        self.jobs.reported(self.names[name], report)

    def end(self, name, report=None):
        self.jobs.ended(self.names[name], report or {})

    def lose(self, name, failure=UNKNOWN):
        self.jobs.lost(self.names[name], failure)

    def run(self, name, score):
        """A whole job, with the same score in each of its epochs; returns its number and end."""
        job = self.next(name)
        epochs = self.halving.epochs
        last = {}
        start = max(self.trial(job.number).intermediate_values, default=0) + 1
        for epoch in range(start, job.until + 1):
            last = result(epoch, score(job.params), finished=epoch == epochs)
            self.report(name, last)
        self.end(name, last)
        return job.number, job.until


def fail(session, name):
    """The job ends in a way that is not tried again."""
    session.lose(name, Failure(Kind.BUG, "its own fault"))


def result(epoch, best, **more):
    return {"epoch": epoch, "best_hmean": best, "finished": False, **more}


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
    assert len({p[RATIO] for p in got}) == 12


def test_another_seed_proposes_other_points(tmp_path):
    points = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        points.append(Session(folder, seed=seed).next("a").params[RATIO])
    assert points[0] != points[1]


def proposed_after(folder, *, left, right, halving=None):
    """Ten ratios proposed after twenty over the range, which ended as said left and right of 4."""
    known = [1.0 + 7.0 * i / 19 for i in range(20)]
    session = Session(folder, trials=40, halving=halving, warm_start=points(*known))
    for i, ratio in enumerate(known):
        session.next(str(i))
        session.end(str(i), left if ratio < 4 else right)
    later = []
    for i in range(20, 30):
        later.append(session.next(str(i)).params[RATIO])
        session.end(str(i), result(1, 0.3))
    return later


def test_stopped_trials_do_not_look_better_than_finished_ones_to_the_sampler(tmp_path):
    # Points over the range: left of 4 they finish well, right of it they are stopped.
    later = proposed_after(tmp_path, left=result(4, 0.9, finished=True), right=result(1, 0.3))
    assert sum(ratio < 5 for ratio in later) >= 7


HALVING = Halving(epochs=4, grace=1, factor=2)


def by_ratio(params):
    return params[RATIO] / 10


def points(*ratios):
    return [{BACKBONE: "resnet18", RATIO: float(ratio)} for ratio in ratios]


def test_trials_pause_at_a_rung_and_the_best_go_on(tmp_path):
    session = Session(tmp_path, warm_start=points(4, 3, 2, 5), halving=HALVING)
    jobs = [session.run(str(i), by_ratio) for i in range(7)]
    # Of 4 and 3 the first goes on; it is alone at its rung. Of four, two go on; of two, one.
    assert jobs == [(0, 1), (1, 1), (0, 2), (2, 1), (3, 1), (3, 2), (3, 4)]
    # Half of four may go on from the first rung: the other half is stopped when all are there.
    assert session.states() == ["RUNNING", "PRUNED", "PRUNED", "COMPLETE"]
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "PRUNED", "PRUNED", "COMPLETE"]
    epochs = [max(t.intermediate_values) for t in session.study.trials]
    assert epochs == [2, 1, 1, 4]
    assert session.trial(0).value == 0.4


def test_a_promotion_waits_for_the_trials_that_decide_it(tmp_path):
    session = Session(tmp_path, trials=2, warm_start=points(2, 4), halving=HALVING)
    session.run("a", by_ratio)
    session.next("b")
    assert session.next("c") is None
    session.end("b", result(1, 0.4))
    assert session.next("d").number == 1


def test_trials_that_wait_for_the_scores_of_others_could_not_run_at_once(tmp_path):
    session = Session(tmp_path, warm_start=points(4, 3, 2, 5), halving=HALVING)
    could = [session.jobs.at_once]
    for name in "abcdef":
        session.run(name, by_ratio)
        could.append(session.jobs.at_once)
    # Those not proposed yet and, after the second, fifth and sixth job, one that is promoted.
    assert could == [4, 3, 2 + 1, 2, 1, 1, 1]
    job = session.next("last")
    assert (job.number, job.until, session.jobs.at_once) == (3, 4, 1)
    assert session.jobs.left == 2
    session.end("last", result(4, 0.5, finished=True))
    assert session.jobs.at_once == 0


def test_trials_that_wait_for_the_weights_of_another_could_not_run_at_once(tmp_path):
    session = joint_session(tmp_path, 0.3, 0.4, 0.5)
    session.next("a")
    session.next("b")  # proposes the others
    assert session.jobs.at_once == 1
    session.end("a", result(4, 0.5, finished=True, best_epoch=3.0))
    assert session.jobs.at_once == 2


class Machines:
    """Chooses for tests: nothing for the ratios that are shut out; notes what was asked."""

    def __init__(self):
        self.shut: set[float] = set()
        self.asked: list[tuple[float, int, bool]] = []

    def choose(self, params, waiting, begins):
        self.asked.append((params[RATIO], waiting, begins))
        return None if params[RATIO] in self.shut else Where("T4", 0.5)


def test_a_job_without_a_machine_is_passed_over_and_comes_when_there_is_one(tmp_path):
    session, machines = Session(tmp_path, warm_start=points(4, 3, 2, 5)), Machines()
    machines.shut = {4.0, 3.0}
    job = session.jobs.next_job(machines.choose)
    assert (job.number, job.where) == (2, Where("T4", 0.5))
    # Waiting are those that were proposed and those that are not yet.
    assert machines.asked == [(4, 4, True), (4, 4, True), (3, 4, True)] + [
        (ratio, 4, True) for ratio in (4, 3, 2)
    ]
    machines.shut = {4.0}
    assert session.jobs.next_job(machines.choose).number == 1
    assert session.jobs.at_once == 2 + 1 + 1
    machines.shut = set()
    assert [session.jobs.next_job(machines.choose).number for _ in range(2)] == [0, 3]
    assert session.jobs.next_job(machines.choose) is None


def test_only_a_few_trials_are_proposed_ahead_of_the_machines_that_hold_them(tmp_path):
    session, machines = Session(tmp_path, trials=50), Machines()
    session.next("at work")
    machines.choose = lambda *_: None
    assert session.jobs.next_job(machines.choose) is None
    assert len(session.study.trials) == 1 + AHEAD


def test_a_search_is_not_over_while_a_failed_trial_still_holds_the_only_machine(tmp_path):
    session = Session(tmp_path, warm_start=points(5, 4, 3, 2), halving=HALVING)
    for name in "abcd":
        session.next(name)
    for name in "abc":
        session.end(name, result(1, session.names[name].params[RATIO] / 10))
    session.report("d", {"error": "it broke", "epoch": 1, "best_hmean": 0.1})
    job = session.jobs.next_job(lambda *_: None)  # no machine is free by any count
    assert (job.number, job.where) == (0, ANYWHERE)
    assert session.states() == ["RUNNING", "RUNNING", "PRUNED", "FAIL"]


def test_a_promoted_trial_without_a_machine_makes_way_for_the_next(tmp_path):
    session, machines = (
        Session(tmp_path, warm_start=points(4, 3, 5, 2), halving=HALVING),
        Machines(),
    )
    for name in "abcd":  # all begin, before any has reported
        session.names[name] = session.jobs.next_job(machines.choose)
    for name in "abcd":
        session.end(name, result(1, session.names[name].params[RATIO] / 10))
    machines.asked, machines.shut = [], {5.0}
    job = session.jobs.next_job(machines.choose)
    assert (job.number, job.until, job.where) == (0, 2, Where("T4", 0.5))
    assert machines.asked == [(5, 2, False), (4, 2, False)]


def test_a_small_search_trains_its_best_trial_to_the_end(tmp_path):
    # Two trials never fill a third of a rung.
    halving = Halving(epochs=4, grace=1, factor=3)
    session = Session(tmp_path, trials=2, warm_start=points(2, 4), halving=halving)
    assert [session.run(str(i), by_ratio) for i in range(4)] == [(0, 1), (1, 1), (1, 3), (1, 4)]
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "COMPLETE"]


def test_a_leader_that_fails_makes_way_for_the_next(tmp_path):
    halving = Halving(epochs=4, grace=1, factor=3)
    session = Session(tmp_path, trials=2, warm_start=points(2, 4), halving=halving)
    for name in "ab":
        session.run(name, by_ratio)
    session.next("c")
    session.report("c", {"error": "ValueError: no"})
    session.end("c", {"error": "ValueError: no"})
    assert [session.run(name, by_ratio) for name in "de"] == [(0, 3), (0, 4)]


def test_after_a_kill_paused_trials_stay_paused_and_cut_ones_go_on(tmp_path):
    killed = Session(tmp_path, warm_start=points(2, 4, 3, 5), halving=HALVING)
    killed.run("a", by_ratio)
    killed.run("b", by_ratio)
    assert killed.run("c", by_ratio) == (1, 2)
    killed.next("d")  # cut before its first epoch

    session = Session(tmp_path, resume=True, halving=HALVING)
    jobs = [session.run(str(i), by_ratio) for i in range(4)]
    assert jobs == [(2, 1), (3, 1), (3, 2), (3, 4)]
    assert session.next("end") is None
    assert session.states() == ["PRUNED", "PRUNED", "PRUNED", "COMPLETE"]


def test_a_trial_that_was_cut_in_its_last_epoch_is_ended(tmp_path):
    killed = Session(tmp_path, trials=1, halving=Halving(epochs=1, grace=1, factor=2))
    killed.next("a")
    killed.report("a", result(1, 0.5, finished=True))

    session = Session(tmp_path, trials=1, resume=True, halving=Halving(epochs=1, grace=1, factor=2))
    assert session.next("b").until == 1
    session.end("b", result(1, 0.5, finished=True))
    assert session.states() == ["COMPLETE"]


def test_an_extended_search_compares_with_the_trials_of_the_first(tmp_path):
    first = Session(tmp_path, trials=2, warm_start=points(3, 4), halving=HALVING)
    assert [first.run(name, by_ratio) for name in "abcd"] == [(0, 1), (1, 1), (1, 2), (1, 4)]
    assert first.next("end") is None

    more = points(3, 4, 2, 5)
    session = Session(tmp_path, trials=4, resume=True, warm_start=more, halving=HALVING)
    # Trial 2 is third of three at the first rung, trial 3 the best of four.
    assert [session.run(name, by_ratio) for name in "efg"] == [(2, 1), (3, 1), (3, 2)]
    assert session.run("h", by_ratio) == (3, 4)  # the best of two at the second


def test_the_sampler_ranks_paused_trials_below_finished_ones(tmp_path):
    # Left of 4 trials finish well, right of it they pause at a score that is higher.
    halving = Halving(epochs=4, grace=1, factor=100)
    left, right = result(4, 0.8, finished=True), result(1, 0.9)
    later = proposed_after(tmp_path, left=left, right=right, halving=halving)
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
    session = Session(tmp_path, space=space, halving=Halving(epochs=4, grace=1, factor=3))
    trained, proposed = [], []
    while (job := session.next("x")) is not None:
        trained.append(job.twin is None)
        proposed.append(len(session.study.trials))
        session.end(
            "x", result(job.until or 4, job.params[THRESH], finished=job.until in (4, None))
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


def test_a_job_that_ends_before_its_rung_fails(tmp_path):
    session = Session(tmp_path, halving=Halving(epochs=9, grace=3, factor=3))
    session.next("a")
    session.end("a", result(2, 0.5))
    (record,) = session.study.records()
    assert record.state is TrialState.FAILED
    assert record.reason == "it ended after epoch 2, though it should train to 3"


def test_a_paused_trial_is_known_as_one(tmp_path):
    session = Session(tmp_path, halving=HALVING)
    session.run("a", by_ratio)
    assert [r.state for r in session.study.records()] == [TrialState.PAUSED]
    job = session.next("b")
    session.report("b", result(job.until, 0.1))
    assert [r.state for r in session.study.records()][-1] is TrialState.RUNNING


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


def test_paused_trials_are_no_obstacle_to_several_objectives(tmp_path):
    halving = Halving(epochs=4, grace=1, factor=2)
    session = Session(tmp_path, trials=20, halving=halving, objectives=SPEED)
    while (job := session.next("x")) is not None:
        until, ratio = job.until, job.params[RATIO]
        slow = 10 * (job.params[BACKBONE] == "resnet34")
        last = result(until, ratio / 10, finished=until == 4, latency_ms=ratio + slow)
        session.end("x", last)
    assert set(session.states()) == {"COMPLETE", "PRUNED"}
    # A fast trial beats a slow one with a lower score in both, so fronts hold fast ones.
    promoted = [t for t in session.study.trials if max(t.intermediate_values) > 1]
    fast = sum(t.params[BACKBONE] == "resnet18" for t in promoted)
    assert fast > len(promoted) / 2


def test_objectives_are_compared_at_the_epoch_of_the_rung(tmp_path):
    # Trial 0 was slower (100 ms) at epoch 1 than at epoch 2 (10 ms). Trial 1 is better in both at
    # the first rung, where it is compared: the newest figure of trial 0 must not keep it out.
    session = Session(
        tmp_path, warm_start=points(2, 3, 4), trials=3, halving=HALVING, objectives=SPEED
    )
    for number, (score, latency) in enumerate([(0.5, 100.0), (0.4, 120.0)]):
        job = session.next("x")
        assert (job.number, job.until) == (number, 1)
        session.end("x", result(1, score, latency_ms=latency))
    job = session.next("x")
    assert (job.number, job.until) == (0, 2)
    session.end("x", result(2, 0.5, latency_ms=10.0))
    job = session.next("x")
    assert (job.number, job.until) == (2, 1)
    session.end("x", result(1, 0.6, latency_ms=90.0))
    job = session.next("x")
    assert (job.number, job.until) == (2, 2)


@pytest.mark.parametrize("trials", [3, 4, 50])
def test_a_search_ends_alike_with_enough_trials_and_without_new_points(tmp_path, trials):
    space = replace(
        make_space(trials=trials), parameters={RATIO: Parameter(RATIO, "choice", (1.0, 2.0, 3.0))}
    )
    session = Session(tmp_path, trials=trials, space=space, halving=HALVING)
    epochs = 0
    while (job := session.next("x")) is not None:
        before = max(session.trial(job.number).intermediate_values, default=0)
        epochs += job.until - before
        last = result(job.until, job.params[RATIO] / 10, finished=job.until == 4)
        session.end("x", last)
    assert session.jobs.is_exhausted == (trials > 3)
    ends = {t.params[RATIO]: t.state.name for t in session.study.trials}
    assert ends == {1.0: "PRUNED", 2.0: "PRUNED", 3.0: "COMPLETE"}
    assert epochs == 1 + 1 + 4


def test_paused_trials_cost_no_statement_of_the_database(tmp_path):
    # They are RUNNING in the database, which gave all of them anew at each look.
    session = Session(tmp_path, trials=99, halving=Halving(epochs=4, grace=1, factor=50))
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    counts = []
    for _ in range(40):
        statements.clear()
        assert session.run("x", by_ratio)[1] == 1
        counts.append(len(statements))
    assert counts[0] > 0
    assert counts == [counts[0]] * 40
    read = [text for text in statements if "intermediate" in text and text.startswith("SELECT")]
    assert len(read) <= 2  # of the one trial that reports


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


def with_five_others(session):
    """Five trials that were good after two epochs; the next job is a sixth."""
    for name in "abcde":
        session.next(name)
        for epoch, best in enumerate((0.6, 0.8, 0.9), 1):
            session.report(name, result(epoch, best))
    return session.next("slow")


def hopeless(session, report):
    return session.jobs.is_hopeless(session.names["slow"], report)


LONG = Halving(epochs=12, grace=12, factor=2)  # its first rung is its end


@pytest.mark.parametrize("halving", [None, LONG])
def test_a_hopeless_trial_is_stopped_before_its_next_rung_and_says_why(tmp_path, halving):
    session = Session(tmp_path, halving=halving, space=make_space(trials=7))
    number = with_five_others(session).number
    for epoch in (1, 2, 3):
        assert not hopeless(session, result(epoch, 0.1))
        session.report("slow", result(epoch, 0.1))
    assert hopeless(session, result(4, 0.1))
    assert not hopeless(session, result(4, 0.5))
    assert not hopeless(session, result(4, 0.1, finished=True))
    assert not hopeless(session, result(4, math.nan))
    assert not hopeless(session, {"error": "ValueError: no"})
    session.end("slow", result(4, 0.1, done=True))  # Tune tells of its last report here alone
    record = session.study.record(number)
    assert (record.state, record.epochs, record.hmean) == (TrialState.STOPPED, 4, 0.1)
    assert record.reason.startswith("hopeless: H-mean 0.1000 after 4 epochs")
    assert session.trial(number).state is OptunaState.PRUNED
    assert session.next("another").number == 6


def test_a_driver_killed_before_a_hopeless_trial_had_ended_stops_it_in_its_next_session(tmp_path):
    space = make_space(trials=6)
    killed = Session(tmp_path, halving=LONG, space=space)
    number = with_five_others(killed).number
    killed.report("slow", result(4, 0.1))
    resumed = Session(tmp_path, resume=True, halving=LONG, space=space)
    assert [resumed.next(name).number for name in "vwxyz"] == [0, 1, 2, 3, 4]
    assert resumed.next("none") is None
    record = resumed.study.record(number)
    assert (record.state, record.reason[:9]) == (TrialState.STOPPED, "hopeless:")


@pytest.mark.parametrize("settings", [{"hopeless": 0}, {"objectives": ["hmean", "params_m"]}])
def test_nothing_is_hopeless_where_that_is_off_or_small_models_count(tmp_path, settings):
    space = make_space(trials=7)
    run = make_run(tmp_path, space, resume=False, search=settings)
    session = Session(tmp_path, resume=True, space=space)
    session.jobs = SearchJobs(run, LONG)
    with_five_others(session)
    assert not hopeless(session, result(4, 0.1))


GPU_FULL = {"error": "out of memory: CUDA out of memory"}
NODE_FULL = Failure(Kind.NODE_OUT_OF_MEMORY, "out of memory: its machine ran low")
ALL_SHARED = Sharing(gpu=True, machine=True)


def run_out(session, name, how):
    """The job finds no memory: by its own report, or as Ray kills it."""
    if how == "lost":
        session.lose(name, NODE_FULL)
    else:
        session.report(name, GPU_FULL)
        # Tune may ask for a job before it says that this one is over.
        assert session.next(f"beside {name}").number != session.names[name].number
        session.end(name, GPU_FULL)


@pytest.mark.parametrize("how", ["reported", "lost"])
def test_a_trial_without_memory_beside_others_is_tried_once_alone(tmp_path, how):
    session = Session(tmp_path, sharing=ALL_SHARED)
    session.next("a")
    session.report("a", result(1, 0.5))
    run_out(session, "a", how)
    assert session.trial(0).state is OptunaState.RUNNING
    again = Session(tmp_path, resume=True, sharing=ALL_SHARED)  # whatever became of the driver
    job = again.next("a")
    assert (job.number, job.alone) == (0, True)
    again.report("a", result(2, 0.6))
    again.lose("a", UNKNOWN)  # and tried again for that, as ever
    assert again.next("a").alone
    run_out(again, "a", how)
    record = again.study.record(0)
    assert (record.state, record.epochs) == (TrialState.FAILED, 2)
    assert record.reason.startswith("out of memory: ")


@pytest.mark.parametrize(
    ("shared", "how"),
    [
        (Sharing(), "reported"),
        (Sharing(), "lost"),
        (Sharing(machine=True), "reported"),  # its GPUs are its own
        (Sharing(gpu=True), "lost"),
    ],
)
def test_where_nothing_is_shared_a_trial_without_memory_has_failed(tmp_path, shared, how):
    session = Session(tmp_path, sharing=shared)
    session.next("a")
    run_out(session, "a", how)
    assert session.trial(0).state is OptunaState.FAIL


def test_what_is_not_for_memory_is_not_tried_again(tmp_path):
    session = Session(tmp_path, sharing=ALL_SHARED)
    session.next("a")
    session.report("a", {"error": "ValueError: no"})
    assert session.trial(0).state is OptunaState.FAIL


def test_a_promoted_trial_without_memory_goes_on_alone_from_its_rung(tmp_path):
    session = Session(tmp_path, sharing=ALL_SHARED, halving=Halving(epochs=4, grace=1, factor=2))
    for name, best in zip("ab", (0.9, 0.5), strict=True):
        session.next(name)
        session.end(name, result(1, best))
    assert session.next("c").number == 0
    session.lose("c", NODE_FULL)
    job = session.next("d")
    assert (job.number, job.until, job.alone) == (0, 2, True)


def test_losses_are_kept_by_epoch_and_stop_what_does_not_learn(tmp_path):
    session = Session(tmp_path, halving=LONG, space=make_space(trials=7))
    for name in "abcde":
        session.next(name)
        for epoch in (1, 2, 3):
            session.report(name, result(epoch, 0.0, **{"loss/total": 6.0 - epoch}))
    dead = session.next("slow").number
    for epoch in (1, 2, 3, 4, 5):
        session.report("slow", result(epoch, 0.0, **{"loss/total": 5.0}))
    last = result(6, 0.0, **{"loss/total": 5.0})
    assert hopeless(session, last)
    assert not hopeless(session, result(6, 0.0, **{"loss/total": 4.0}))
    session.end("slow", last)
    record = session.study.record(dead)
    assert (record.state, record.epochs) == (TrialState.STOPPED, 6)
    assert record.reason.startswith("hopeless: its loss has fallen by 0.0% in 6 epochs")
