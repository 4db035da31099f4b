"""The bridge between Ray Tune and Optuna, called as Tune calls it, on a real database."""

from __future__ import annotations

import math
import pickle
import sqlite3
from pathlib import Path

import pytest
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from detector.errors import InputError
from orchestrator import study as store
from orchestrator.parameters import Budget, Parameter
from orchestrator.records import TrialState
from orchestrator.sampler import StudySearcher, folder_name
from orchestrator.space import SearchSpace

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

    def __init__(self, folder: Path, *, resume=False, seed=0, trials=4, warm_start=()):
        space = make_space(warm_start, trials)
        self.study = store.open_study(store.storage_url(folder, None), "run", resume=resume)
        store.enqueue(self.study, space.warm_start)
        self.searcher = StudySearcher(self.study, space, folder, seed=seed, trials=trials)

    def trial(self, number):
        return self.study.get_trials(deepcopy=False)[number]


def result(epoch, best, **more):
    return {"epoch": epoch, "best_hmean": best, "finished": False, **more}


def test_a_trial_that_ran_to_the_end_is_complete(tmp_path):
    session = Session(tmp_path)
    session.searcher.suggest("a")
    session.searcher.on_trial_result("a", result(1, 0.5))
    last = result(2, 0.75, finished=True)
    session.searcher.on_trial_result("a", last)
    session.searcher.on_trial_complete("a", last | {"done": True})
    trial = session.trial(0)
    assert trial.state is OptunaState.COMPLETE
    assert trial.value == 0.75
    assert trial.intermediate_values == {1: 0.5, 2: 0.75}


def test_a_stopped_trial_is_pruned_and_keeps_its_last_report(tmp_path):
    # Tune does not pass the report that a scheduler stops at to on_trial_result.
    session = Session(tmp_path)
    session.searcher.suggest("a")
    session.searcher.on_trial_result("a", result(1, 0.5))
    session.searcher.on_trial_complete("a", result(2, 0.625, done=True))
    trial = session.trial(0)
    assert trial.state is OptunaState.PRUNED
    assert trial.intermediate_values == {1: 0.5, 2: 0.625}
    assert trial.value == 0.625


@pytest.mark.parametrize(("epochs", "score"), [(0, math.nan), (1, math.nan), (1, math.inf)])
def test_a_score_that_is_no_number_fails_the_trial(tmp_path, epochs, score):
    session = Session(tmp_path)
    session.searcher.suggest("a")
    for epoch in range(1, epochs + 1):
        session.searcher.on_trial_result("a", result(epoch, 0.5))
    session.searcher.on_trial_result("a", result(epochs + 1, score))
    session.searcher.on_trial_complete("a", result(epochs + 1, score))
    assert session.trial(0).state is OptunaState.FAIL
    assert "not a finite number" in store.read_records(session.study)[0].reason


def test_a_trial_that_reports_its_own_error_fails_once_with_its_reason(tmp_path):
    session = Session(tmp_path)
    session.searcher.suggest("a")
    session.searcher.on_trial_result("a", {"error": "ValueError: no"})
    session.searcher.on_trial_complete("a", {"error": "ValueError: no", "done": True})
    (record,) = store.read_records(session.study)
    assert (record.state, record.reason) == (TrialState.FAILED, "ValueError: no")


def test_a_lost_worker_fails_the_trial_with_the_reason_given_before(tmp_path):
    session = Session(tmp_path)
    session.searcher.suggest("a")
    session.searcher.on_trial_result("a", result(1, 0.5))
    session.searcher.explain_failure("a", "its worker was lost 4 times")
    session.searcher.on_trial_complete("a", error=True)
    (record,) = store.read_records(session.study)
    assert (record.state, record.reason) == (TrialState.FAILED, "its worker was lost 4 times")
    assert record.hmean == 0.5


def test_a_trial_without_any_report_fails(tmp_path):
    session = Session(tmp_path)
    for name, last in [("a", None), ("b", {}), ("c", {"done": True})]:
        session.searcher.suggest(name)
        session.searcher.on_trial_complete(name, last)
    reasons = [r.reason for r in store.read_records(session.study)]
    assert reasons == ["it ended without a score"] * 3


def test_repeated_reports_change_nothing(tmp_path):
    # A worker started again reports epochs that it reported before.
    session = Session(tmp_path)
    session.searcher.suggest("a")
    for epoch, best in [(1, 0.5), (2, 0.6), (1, 0.1), (2, 0.2), (3, 0.7)]:
        session.searcher.on_trial_result("a", result(epoch, best))
    assert session.trial(0).intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7}


def test_records_hold_the_best_epochs_figures(tmp_path):
    session = Session(tmp_path)
    session.searcher.suggest("a")
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
    session.searcher.on_trial_result("a", result(1, 0.6, page_hmeans=[0.5, 0.7], **figures))
    session.searcher.on_trial_result(
        "a", result(2, 0.6, hmean=0.4, **(figures | {"seconds": 60.0}))
    )
    (record,) = store.read_records(session.study)
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
    session.searcher.suggest("a")
    session.searcher.on_trial_result("a", result(1, 0.6, best_epoch=1.0, page_hmeans=[0.6]))
    session.searcher.on_trial_result("a", result(3, 0.8, best_epoch=2.0))  # 2 was lost
    assert store.read_records(session.study)[0].page_hmeans is None


def test_warm_starts_come_first_and_in_order(tmp_path):
    points = [{BACKBONE: "resnet34", RATIO: 3.5}, {BACKBONE: "resnet18", RATIO: 2.5}]
    session = Session(tmp_path, warm_start=points)
    assert [session.searcher.suggest(name)["params"] for name in "ab"] == points
    third = session.searcher.suggest("c")
    assert third["number"] == 2
    assert third["params"] not in points


def test_no_more_trials_than_asked_for(tmp_path):
    session = Session(tmp_path, trials=2)
    assert session.searcher.remaining == 2
    session.searcher.suggest("a")
    session.searcher.suggest("b")
    assert session.searcher.suggest("c") == Searcher.FINISHED
    session.searcher.on_trial_complete("a", error=True)
    assert session.searcher.suggest("d") == Searcher.FINISHED
    assert session.searcher.remaining == 1


def test_after_a_killed_driver_running_trials_are_taken_up_again(tmp_path):
    killed = Session(tmp_path)
    first = [killed.searcher.suggest(name) for name in "abc"]
    killed.searcher.on_trial_result("a", result(1, 0.5))
    killed.searcher.on_trial_result("b", result(1, 0.5))
    killed.searcher.on_trial_complete("b", result(2, 0.5, finished=True))

    session = Session(tmp_path, resume=True)
    assert session.searcher.remaining == 3
    assert [session.searcher.suggest(name) for name in "xy"] == [first[0], first[2]]
    session.searcher.on_trial_result("x", result(1, 0.1))  # reported before the kill
    session.searcher.on_trial_complete("x", result(2, 0.6, finished=True))
    session.searcher.on_trial_complete("y", error=True)
    fourth = session.searcher.suggest("z")
    assert fourth["number"] == 3
    assert session.searcher.suggest("more") == Searcher.FINISHED
    session.searcher.on_trial_complete("z", result(1, 0.3))
    states = [t.state.name for t in session.study.get_trials()]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "PRUNED"]
    assert session.trial(0).intermediate_values == {1: 0.5, 2: 0.6}


def test_a_kill_while_a_trial_is_being_proposed_loses_nothing(tmp_path):
    point = {BACKBONE: "resnet34", RATIO: 3.5}
    killed = Session(tmp_path, warm_start=[point])
    trial = killed.study.ask()  # the database says RUNNING ...
    trial.suggest_categorical(BACKBONE, ("resnet18", "resnet34"))  # ... with half its settings
    session = Session(tmp_path, resume=True, warm_start=[point])
    got = session.searcher.suggest("a")
    assert (got["number"], got["params"]) == (0, point)
    assert got["folder"] == str(tmp_path / "trials" / "00000_resnet34")
    assert len(session.study.get_trials()) == 1


def test_a_resumed_session_proposes_what_the_first_would_have(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()

    def propose(session, names):
        points = []
        for name in names:
            points.append(session.searcher.suggest(name)["params"])
            score = 1 / points[-1][RATIO]
            session.searcher.on_trial_complete(name, result(4, score, finished=True))
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
        points.append(Session(folder, seed=seed).searcher.suggest("a")["params"][RATIO])
    assert points[0] != points[1]


def test_stopped_trials_do_not_look_better_than_finished_ones_to_the_sampler(tmp_path):
    # Points over the range: left of 4 they finish well, right of it they are stopped.
    session = Session(tmp_path, trials=40)
    for i in range(20):
        ratio = 1.0 + 7.0 * i / 19
        session.study.enqueue_trial({BACKBONE: "resnet18", RATIO: ratio})
        session.searcher.suggest(str(i))
        final = result(4, 0.9, finished=True) if ratio < 4 else result(1, 0.3)
        session.searcher.on_trial_complete(str(i), final)
    later = []
    for i in range(20, 30):
        later.append(session.searcher.suggest(str(i))["params"][RATIO])
        session.searcher.on_trial_complete(str(i), result(1, 0.3))
    assert sum(ratio < 5 for ratio in later) >= 7


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
    session.searcher.suggest("a")
    with sqlite3.connect(tmp_path / "study.db") as reader:
        reader.execute("select * from trials").fetchall()
        session.searcher.on_trial_result("a", result(1, 0.5))
    assert session.trial(0).intermediate_values == {1: 0.5}


def test_tune_can_pickle_and_snapshot_the_searcher(tmp_path):
    session = Session(tmp_path)
    pickle.dumps(session.searcher)
    session.searcher.save_to_dir(str(tmp_path))
    assert not list(tmp_path.glob("searcher-state*"))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"lr": 0.1}, "00007"),
        ({"lr": 0.1, "backbone": "convnext_tiny"}, "00007_convnext_tiny"),
        ({"weights": "../a b/c"}, "00007_..-a-b-c"),
        ({"weights": "x" * 99}, "00007_" + "x" * 40),
    ],
)
def test_folder_names_are_short_and_safe(params, expected):
    assert folder_name(7, params) == expected
