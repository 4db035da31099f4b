"""Searches on a real Ray with cheap trials: failures, lost workers, a killed driver."""

from __future__ import annotations

import os
import random
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.trial import create_trial
from ray.tune import Callback

from orchestrator.execute.tuner import Asha, run_search
from orchestrator.place.cluster import connected
from orchestrator.place.resources import Machine, TrialResources
from orchestrator.propose.halving import Halving
from orchestrator.propose.sampler import StudySearcher
from orchestrator.run import study as store
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.records import TrialState

RATIO = "loss.negative_ratio"
EPOCHS = 4
TRIALS = 5


def make_space(trials=TRIALS, *, epochs=EPOCHS, grace=1, warm_start=()) -> SearchSpace:
    return SearchSpace(
        name="test",
        description="",
        fixed={},
        parameters={RATIO: Parameter(RATIO, "uniform", (1.0, 8.0))},
        warm_start=tuple({RATIO: float(r)} for r in warm_start),
        budget=Budget(trials=trials, epochs=epochs, grace_epochs=grace, reduction_factor=2),
    )


def search(
    folder: Path, trial, space: SearchSpace, *, gpus=0.0, concurrent=2, halving=None, callbacks=()
):
    """One session, new or resumed; returns the study."""
    study = store.open_study(store.storage_url(folder, None), "run", resume=True)
    resources = TrialResources(cpus=1, gpus=gpus, concurrent=concurrent)
    run_search(
        study=study,
        space=space,
        folder=folder,
        trial=trial,
        resources=resources,
        seed=0,
        halving=halving,
        callbacks=callbacks,
    )
    return study


def counting_trial(seconds: float, score=lambda _, epoch: epoch / 10):
    """A trial that counts epochs in a file, as a training does in its checkpoint.

    A closure, so that workers get the code itself and need not find this file.
    """

    def trial(job, report):
        state = job.folder / "epoch.txt"
        start = int(state.read_text()) if state.exists() else 0
        with (job.folder / "starts.txt").open("a") as file:
            print(start, file=file)
        for epoch in range(start + 1, (job.until or EPOCHS) + 1):
            time.sleep(seconds)
            state.with_suffix(".new").write_text(str(epoch))
            state.with_suffix(".new").replace(state)
            value = score(job.params, epoch)
            report({"epoch": epoch, "best_hmean": value, "finished": epoch == EPOCHS})
        if start == (job.until or EPOCHS):
            value = score(job.params, start)
            report({"epoch": start, "best_hmean": value, "finished": start == EPOCHS})

    return trial


def troubled_trial():
    """What goes wrong depends on the trial's number."""

    def trial(job, report):
        def epoch(number, score, *, last=EPOCHS):
            report({"epoch": number, "best_hmean": score, "finished": number == last})

        attempts = job.folder / "attempts.txt"
        with attempts.open("a") as file:
            print("attempt", file=file)
        if job.number == 1:
            epoch(1, 0.9)
            raise ValueError("the second epoch went wrong")
        if job.number == 2:
            epoch(1, float("nan"))
        if job.number == 3 and len(attempts.read_text().split()) == 1:
            epoch(1, 0.9)
            os._exit(1)  # what an out-of-memory kill or a lost machine looks like
        if job.number == 4:
            return
        for number in range(1, EPOCHS + 1):
            epoch(number, 0.1 if job.number == 5 else 0.9)

    return trial


@pytest.mark.usefixtures("ray_cluster")
def test_every_way_to_end_is_recorded_and_the_search_goes_on(tmp_path, capfd):
    space = make_space(6, warm_start=[1, 2, 3, 4, 5, 6])
    study = search(tmp_path, troubled_trial(), space, concurrent=1)
    records = store.read_records(study)
    finished, stopped, failed = TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED
    assert [r.state for r in records] == [finished, failed, failed, finished, failed, stopped]
    assert [r.params[RATIO] for r in records] == [1, 2, 3, 4, 5, 6]
    assert records[1].reason == "ValueError: the second epoch went wrong"
    assert records[1].hmean == 0.9
    assert records[2].reason == "epoch 1: best_hmean is nan, not a finite number"
    assert records[4].reason == "it ended without a score"
    assert records[5].epochs == 1
    attempts = [
        len((tmp_path / "trials" / r.trial / "attempts.txt").read_text().split()) for r in records
    ]
    assert attempts == [1, 1, 1, 2, 1, 1]  # only a lost worker is tried again
    trials = study.get_trials()
    assert trials[5].intermediate_values == {1: 0.1}
    assert trials[3].intermediate_values == dict.fromkeys(range(1, EPOCHS + 1), 0.9)
    assert "raise ValueError" in (tmp_path / "trials/00001/error.txt").read_text()
    assert not (tmp_path / ".ray").exists()
    assert capfd.readouterr() == ("", "")  # Ray and Optuna keep quiet


@pytest.mark.usefixtures("ray_cluster")
def test_a_trial_gets_its_share_of_a_gpu(tmp_path):
    def trial(job, report):
        import ray

        given = ray.get_runtime_context().get_assigned_resources()
        text = f"{ray.get_gpu_ids()} {given['GPU']} {os.environ['CUDA_VISIBLE_DEVICES']}"
        (job.folder / "gpu.txt").write_text(text)
        report({"epoch": 1, "best_hmean": 0.5, "finished": True})

    search(tmp_path, trial, make_space(2, epochs=1), gpus=0.5)
    texts = [p.read_text() for p in sorted(tmp_path.glob("trials/*/gpu.txt"))]
    assert texts == ["[0] 0.5 0", "[0] 0.5 0"]


@pytest.mark.usefixtures("ray_cluster")
def test_paused_trials_are_promoted_from_where_they_stopped(tmp_path):
    def score(params, epoch):
        return params["loss.negative_ratio"] / 10 + epoch / 100

    space = make_space(6, warm_start=[1, 2, 6, 4, 5, 3])
    halving = Halving(epochs=EPOCHS, grace=1, factor=2)
    study = search(tmp_path, counting_trial(0.0, score), space, concurrent=1, halving=halving)
    trials = study.get_trials()
    done = {t.params[RATIO]: max(t.intermediate_values) for t in trials}
    # Each trial is the best half of the first rung when it gets there, but for 1 and 3.
    assert done == {1: 1, 2: 2, 6: 4, 4: 2, 5: 4, 3: 1}
    ends = [t.state.name for t in trials]
    assert ends == ["PRUNED", "PRUNED", "COMPLETE", "PRUNED", "COMPLETE", "PRUNED"]
    assert trials[2].value == pytest.approx(0.64)
    starts = [(tmp_path / f"trials/0000{n}/starts.txt").read_text().split() for n in range(6)]
    assert starts == [["0"], ["0", "1"], ["0", "1", "2"], ["0", "1"], ["0", "1", "2"], ["0"]]


@pytest.mark.usefixtures("ray_cluster")
def test_equal_trainings_are_one_and_the_others_get_its_weights(tmp_path):
    def trial(job, report):
        if job.twin is not None:
            (job.folder / "twin.txt").write_text(f"{job.twin.source.name} {job.twin.epochs}")
        report({"epoch": 1, "best_hmean": 0.5, "finished": True})

    thresh = "postprocess.box_thresh"
    points = tuple({RATIO: 3.0, thresh: value} for value in (0.3, 0.4, 0.5))
    space = replace(
        make_space(3, epochs=1),
        parameters={
            RATIO: Parameter(RATIO, "uniform", (1.0, 8.0)),
            thresh: Parameter(thresh, "uniform", (0.1, 0.9)),
        },
        warm_start=points,
    )
    study = search(tmp_path, trial, space, halving=Halving(epochs=1, grace=1, factor=2))
    assert [t.state.name for t in study.get_trials()] == ["COMPLETE"] * 3
    assert [t.params for t in study.get_trials()] == list(points)
    texts = {p.parent.name: p.read_text() for p in tmp_path.glob("trials/*/twin.txt")}
    assert texts == {"00001": "00000 1", "00002": "00000 1"}


HALVINGS = {"promote": Halving(epochs=EPOCHS, grace=2, factor=2), "asha": None}


def drive(folder: str, scheduler: str) -> None:
    """The driver that the next test kills."""
    with connected(Machine(cpus=2, gpus=0)):
        space = make_space(grace=EPOCHS)
        search(Path(folder), counting_trial(0.2), space, halving=HALVINGS[scheduler])


def epochs_done(folder: Path) -> int:
    return sum(int(p.read_text() or 0) for p in folder.glob("trials/*/epoch.txt"))


def killed_after(wait_for, folder: Path, epochs: int, scheduler: str) -> None:
    """Run a driver and SIGKILL it once its trials have trained so many epochs together."""
    code = f"import runpy; runpy.run_path({__file__!r})['drive'](*{(str(folder), scheduler)!r})"
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    try:
        wait_for(
            lambda: epochs_done(folder) >= epochs,
            f"{epochs} epochs",
            while_=lambda: driver.poll() is None,
        )
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("scheduler", list(HALVINGS))
def test_a_killed_driver_loses_no_trial_doubles_none_and_leaves_none_running(
    tmp_path, wait_for, scheduler
):
    for epochs in (1, random.randint(3, 9)):  # of 20, or of 14 at least; any moment must do
        killed_after(wait_for, tmp_path, epochs, scheduler)
    before = store.open_study(store.storage_url(tmp_path, None), "run", resume=True)
    done = {t.number: t.intermediate_values for t in store.ended(before)}
    cut = {t.number: t.params for t in store.unfinished(before)}

    space, halving = make_space(grace=EPOCHS), HALVINGS[scheduler]
    trials = search(tmp_path, counting_trial(0.0), space, halving=halving).get_trials()
    assert [t.number for t in trials] == list(range(TRIALS))
    ends = [t.state.name for t in trials]
    assert set(ends) <= {"COMPLETE", "PRUNED"}
    # Equal scores decide nothing, so one is trained to the end, or more after a lost report.
    assert ends.count("COMPLETE") == TRIALS if halving is None else "COMPLETE" in ends
    assert len({t.params[RATIO] for t in trials}) == TRIALS
    assert all(trials[n].intermediate_values == values for n, values in done.items())
    for trial in trials:
        state = tmp_path / "trials" / store.trial_id(trial.number) / "epoch.txt"
        assert int(state.read_text()) == max(trial.intermediate_values)
    # A kill while a trial is being proposed may leave it without settings; none is changed.
    assert all(trials[n].params[key] == v for n, p in cut.items() for key, v in p.items())
    for path in tmp_path.glob("trials/*/starts.txt"):
        starts = [int(line) for line in path.read_text().split()]
        assert starts[0] == 0
        # From its last checkpoint: nothing is trained twice but the epoch that was cut.
        assert starts == sorted(starts)
    begun = [len(p.read_text().split()) for p in tmp_path.glob("trials/*/starts.txt")]
    jobs = TRIALS + (ends.count("COMPLETE") if halving else 0)
    assert sum(begun) <= jobs + 4  # two jobs at once were cut by each kill, no more


@pytest.mark.usefixtures("ray_cluster")
def test_a_finished_search_runs_nothing_again_and_can_be_extended(tmp_path):
    search(tmp_path, counting_trial(0.0), make_space(1))
    search(tmp_path, counting_trial(0.0), make_space(1))
    assert (tmp_path / "trials/00000/starts.txt").read_text() == "0\n"
    study = search(tmp_path, counting_trial(0.0), make_space(2))
    assert [t.state.name for t in study.get_trials()] == ["COMPLETE"] * 2
    assert (tmp_path / "trials/00000/starts.txt").read_text() == "0\n"


@pytest.mark.usefixtures("ray_cluster")
def test_settings_that_a_sweep_chose_reach_the_study_whatever_their_type(tmp_path):
    tuned = {"shape": "polygon", "score_mode": "slow", "dilate": True, "unclip_ratio": 1.8}

    def trial(_job, report):
        last = {"epoch": EPOCHS, "best_epoch": EPOCHS, "finished": True, "best_hmean": 0.5}
        report({**last, "page_hmeans": [0.25, 0.75], "tuned": tuned})

    (record,) = store.read_records(search(tmp_path, trial, make_space(1)))
    assert record.tuned == {f"postprocess.{key}": value for key, value in tuned.items()}


class Keeping(Callback):
    """Keeps Tune's jobs, and whether it remembers their figures when they end."""

    def __init__(self):
        self.jobs, self.remembered = [], []

    def on_trial_complete(self, *, trial, **_):
        self.jobs.append(trial)
        self.remembered.append("best_hmean" in trial.run_metadata.metric_analysis)


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_job_reported_is_forgotten_by_tune_once_the_study_has_it(tmp_path):
    def trial(_job, report):
        last = {"epoch": EPOCHS, "best_epoch": EPOCHS, "finished": True}
        report({**last, "best_hmean": 0.5, "page_hmeans": [0.25, 0.75]})

    keeping = Keeping()
    study = search(tmp_path, trial, make_space(2), callbacks=[keeping])
    assert [r.page_hmeans for r in store.read_records(study)] == [(0.25, 0.75)] * 2
    assert keeping.remembered == [True, True]
    assert [job.last_result["best_hmean"] for job in keeping.jobs] == [0.5, 0.5]
    for job in keeping.jobs:
        assert not job.run_metadata.metric_analysis
        assert not job.run_metadata.metric_n_steps
        assert "page_hmeans" not in job.last_result


@pytest.fixture
def scheduler(tmp_path):
    study = store.open_study(store.storage_url(tmp_path, None), "run", resume=False)
    space = make_space()
    return Asha(space.budget, StudySearcher(study, space, tmp_path, seed=0, trials=TRIALS))


def ended_trial(number, values):
    trial = create_trial(value=max(values.values()), intermediate_values=values)
    trial.number = number
    return trial


@pytest.mark.parametrize(("score", "decision"), [(0.45, "STOP"), (0.55, "CONTINUE")])
def test_rungs_are_filled_again_after_a_restart(scheduler, score, decision):
    # The median of 0.2, 0.4, 0.6, 0.8 is 0.5; with factor 2 a trial below it is stopped.
    scheduler.replay(ended_trial(i, {1: v}) for i, v in enumerate((0.8, 0.6, 0.4, 0.2)))
    newcomer = SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, newcomer)
    report = {"epoch": 1, "best_hmean": score}
    assert scheduler.on_trial_result(None, newcomer, report) == decision


def test_the_last_epoch_is_never_cut_short(scheduler):
    scheduler.replay([ended_trial(0, {1: 0.1, 2: 0.1, 4: 0.1})])
    good = SimpleNamespace(trial_id="good")
    scheduler.on_trial_add(None, good)
    for epoch in (1, 2, 3, 4):
        report = {"epoch": epoch, "best_hmean": 0.9}
        assert scheduler.on_trial_result(None, good, report) == "CONTINUE"


def test_a_report_without_a_score_is_no_reason_to_stop(scheduler):
    trial = SimpleNamespace(trial_id="t")
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {"error": "x"}) == "CONTINUE"


def test_a_lost_worker_is_explained_to_the_searcher(scheduler, tmp_path):
    searcher = scheduler._searcher
    searcher.suggest("t")
    lost = SimpleNamespace(trial_id="t", pickled_error_file=None, error_file=tmp_path / "error.txt")
    lost.error_file.write_text("1 worker(s) were killed due to the node running low on memory.")
    scheduler.on_trial_error(None, lost)
    searcher.on_trial_complete("t", error=True)
    (record,) = store.read_records(searcher._study)
    assert record.reason.startswith("out of memory: its machine ran low")


def test_the_driver_can_be_found_by_the_process_that_is_killed():
    assert callable(runpy.run_path(__file__)["drive"])
