"""Searches on a real Ray with cheap trials: failures, lost workers, a killed driver."""

from __future__ import annotations

import errno
import os
import pickle
import random
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import create_trial
from ray.tune.error import TuneError
from rich.console import Console
from sessions import make_run, session_of

from orchestrator.events.kinds import untold
from orchestrator.execute.bridge import Bridge, Steps
from orchestrator.execute.events import Events
from orchestrator.execute.recorder import Recorder
from orchestrator.execute.trial import signs_of_life
from orchestrator.execute.tuner import Asha, run_search, unwrapped
from orchestrator.place.cluster import connected
from orchestrator.place.resources import Machine
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.results.live import View
from orchestrator.run.as_records import trial_id
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import Listener
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


def search(folder: Path, trial, space: SearchSpace, listeners=(), **settings):
    """One session, new or resumed; returns the study."""
    given = {name: settings.pop(name) for name in ("gpus", "concurrent") if name in settings}
    run = make_run(folder, space, search=settings)
    run_search(session_of(run, trial, **given), listeners)
    return run.study


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
    study = search(tmp_path, troubled_trial(), space, concurrent=1, scheduler="asha")
    records = study.records()
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
    trials = study.trials
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
    study = search(tmp_path, counting_trial(0.0, score), space, concurrent=1)
    trials = study.trials
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
    study = search(tmp_path, trial, space)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 3
    assert [t.params for t in study.trials] == list(points)
    texts = {p.parent.name: p.read_text() for p in tmp_path.glob("trials/*/twin.txt")}
    assert texts == {"00001": "00000 1", "00002": "00000 1"}


def killed_space(scheduler: str) -> SearchSpace:
    return make_space(grace=2 if scheduler == "promote" else EPOCHS)


def drive(folder: str, scheduler: str) -> None:
    """The driver that the next test kills."""
    with connected(Machine(cpus=2, gpus=0)):
        search(Path(folder), counting_trial(0.2), killed_space(scheduler), scheduler=scheduler)


def epochs_done(folder: Path) -> int:
    return sum(int(p.read_text() or 0) for p in folder.glob("trials/*/epoch.txt"))


def killed_after(wait_for, folder: Path, epochs: int, scheduler: str) -> None:
    """Run a driver and SIGKILL it once its trials have trained so many epochs together."""
    code = f"import runpy; runpy.run_path({__file__!r})['drive'](*{(str(folder), scheduler)!r})"
    found = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    root = Path(__file__).parents[3]
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=found)
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
@pytest.mark.parametrize("scheduler", ["promote", "asha"])
def test_a_killed_driver_loses_no_trial_doubles_none_and_leaves_none_running(
    tmp_path, wait_for, scheduler
):
    for epochs in (1, random.randint(3, 9)):  # of 20, or of 14 at least; any moment must do
        killed_after(wait_for, tmp_path, epochs, scheduler)
    before = make_run(tmp_path, killed_space(scheduler)).study.trials
    done = {t.number: t.intermediate_values for t in before if t.state.is_finished()}
    begun_with = {t.number: t.params for t in before}

    trial, space = counting_trial(0.0), killed_space(scheduler)
    trials = search(tmp_path, trial, space, scheduler=scheduler).trials
    assert [t.number for t in trials] == list(range(TRIALS))
    ends = [t.state.name for t in trials]
    assert set(ends) <= {"COMPLETE", "PRUNED"}
    # Equal scores decide nothing, so one is trained to the end, or more after a lost report.
    assert ends.count("COMPLETE") == TRIALS if scheduler == "asha" else "COMPLETE" in ends
    assert len({t.params[RATIO] for t in trials}) == TRIALS
    assert all(trials[n].intermediate_values == values for n, values in done.items())
    for trial in trials:
        state = tmp_path / "trials" / trial_id(trial.number) / "epoch.txt"
        assert int(state.read_text()) == max(trial.intermediate_values)
    assert all(trials[n].params == params for n, params in begun_with.items())
    for path in tmp_path.glob("trials/*/starts.txt"):
        starts = [int(line) for line in path.read_text().split()]
        assert starts[0] == 0
        # From its last checkpoint: nothing is trained twice but the epoch that was cut.
        assert starts == sorted(starts)
    begun = [len(p.read_text().split()) for p in tmp_path.glob("trials/*/starts.txt")]
    jobs = TRIALS + (ends.count("COMPLETE") if scheduler == "promote" else 0)
    assert sum(begun) <= jobs + 4  # two jobs at once were cut by each kill, no more


@pytest.mark.usefixtures("ray_cluster")
def test_a_finished_search_runs_nothing_again_and_can_be_extended(tmp_path):
    search(tmp_path, counting_trial(0.0), make_space(1, grace=EPOCHS))
    search(tmp_path, counting_trial(0.0), make_space(1, grace=EPOCHS))
    assert (tmp_path / "trials/00000/starts.txt").read_text() == "0\n"
    study = search(tmp_path, counting_trial(0.0), make_space(2, grace=EPOCHS))
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 2
    assert (tmp_path / "trials/00000/starts.txt").read_text() == "0\n"


@pytest.mark.usefixtures("ray_cluster")
def test_settings_that_a_sweep_chose_reach_the_study_whatever_their_type(tmp_path):
    tuned = {"shape": "polygon", "score_mode": "slow", "dilate": True, "unclip_ratio": 1.8}

    def trial(_job, report):
        last = {"epoch": EPOCHS, "best_epoch": EPOCHS, "finished": True, "best_hmean": 0.5}
        report({**last, "page_hmeans": {"a.png": 0.25, "b.png": 0.75}, "tuned": tuned})

    (record,) = search(tmp_path, trial, make_space(1)).records()
    assert record.tuned == {f"postprocess.{key}": value for key, value in tuned.items()}


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_job_reported_is_forgotten_by_tune_once_the_study_has_it(tmp_path):
    def trial(_job, report):
        last = {"epoch": EPOCHS, "best_epoch": EPOCHS, "finished": True}
        report({**last, "best_hmean": 0.5, "page_hmeans": {"a.png": 0.25, "b.png": 0.75}})

    known: list[Any] = []
    original = Steps.on_trial_complete

    def spied(steps, *, trial, **more):
        known.append("best_hmean" in trial.run_metadata.metric_analysis)
        original(steps, trial=trial, **more)
        known.append(trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "on_trial_complete", spied)
        study = search(tmp_path, trial, make_space(2))
    assert [r.page_hmeans for r in study.records()] == [(0.25, 0.75)] * 2
    assert known[::2] == [True, True]
    for job in known[1::2]:
        assert job.last_result["best_hmean"] == 0.5
        assert not job.run_metadata.metric_analysis
        assert not job.run_metadata.metric_n_steps
        assert "report" not in job.last_result


class Told(Listener):
    """Notes what it is told, and breaks at the second report."""

    def __init__(self, *, breaks: bool) -> None:
        self.events: list[str] = []
        self._breaks = breaks

    def started(self, job):
        self.events.append(f"started {job.number}")

    def alive(self, job):
        self.events.append(f"alive {job.number}")

    def reported(self, job, report):
        self.events.append(f"{job.number}: {report['epoch']}")
        if self._breaks and len(self.events) == 3:
            raise ZeroDivisionError("a listener broke")

    def ended(self, job):
        self.events.append(f"ended {job.number}")


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("scheduler", ["promote", "asha"])
def test_listeners_hear_of_each_epoch_once_and_of_each_end(tmp_path, scheduler):
    told = Told(breaks=False)
    # The second trial is worse: it pauses at epoch 2, or ASHA stops it there.
    space = make_space(2, grace=2, warm_start=[5, 3])
    trial = counting_trial(0.0, lambda params, _: params["loss.negative_ratio"] / 10)
    search(tmp_path, trial, space, [told], concurrent=1, scheduler=scheduler)
    first = ["started 0", "0: 1", "0: 2"]
    second = ["started 1", "1: 1", "1: 2", "ended 1"]
    last = ["0: 3", "0: 4", "ended 0"]
    if scheduler == "asha":
        assert told.events == [*first, *last, *second]
    else:
        assert told.events == [*first, "ended 0", *second, "started 0", *last]


def crowded_trial():
    """One that finds no memory where the other one may be beside it, and notes what it has."""

    def trial(job, report):
        import ray  # of the worker

        with (job.folder / "had.txt").open("a") as file:
            had = ray.get_runtime_context().get_assigned_resources()
            print(job.alone, had["CPU"], had["GPU"], file=file)
        if job.number == 0 and not job.alone:
            time.sleep(0.5)
            raise MemoryError("no room beside the others")
        for epoch in range(1, (job.until or EPOCHS) + 1):
            time.sleep(0.2)
            report({"epoch": epoch, "best_hmean": 0.5, "finished": epoch == EPOCHS})

    return trial


@pytest.mark.usefixtures("ray_cluster")
def test_a_trial_that_found_no_memory_beside_another_gets_the_machine(tmp_path, capsys):
    space = make_space(3, grace=EPOCHS)
    run = make_run(tmp_path, space)
    session = session_of(run, crowded_trial(), gpus=0.5)
    view = View(Console(force_terminal=False), trials=3, epochs=EPOCHS, parameters=[])
    session = replace(session, resources=replace(session.resources, machine_cpus=2))
    events = Events(run, untold, view.tell)
    run_search(session, [events, Recorder(run, view)], tell=events.decided)
    assert [r.state for r in run.records()] == [TrialState.FINISHED] * 3
    had = (run.trial_folder(0) / "had.txt").read_text().splitlines()
    assert had == ["False 1.0 0.5", "True 2.0 1.0"]
    assert (run.trial_folder(1) / "had.txt").read_text() == "False 1.0 0.5\n"
    assert (
        "trial 00000  out of memory: no room beside the others; use a smaller"
        in capsys.readouterr().out
    )


def learning_trial():
    """Twelve epochs of a training that learns the more slowly the lower its setting is."""

    def trial(job, report):
        speed = job.params["loss.negative_ratio"] - 1
        for epoch in range(1, (job.until or 12) + 1):
            with (job.folder / "trained.txt").open("a") as file:
                print(epoch, file=file)
            value = 1 - 0.8 ** (speed * epoch)
            time.sleep(0.05)  # or the reports of many epochs are under way
            report({"epoch": epoch, "best_hmean": value, "finished": epoch == 12})

    return trial


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("scheduler", ["promote", "asha"])
def test_a_training_that_learns_nothing_is_stopped_long_before_its_first_rung(tmp_path, scheduler):
    told, ratios = Told(breaks=False), (3.0, 3.1, 3.2, 3.3, 3.4, 1.001, 3.5)
    space = make_space(7, epochs=12, grace=12, warm_start=ratios)
    study = search(tmp_path, learning_trial(), space, [told], concurrent=1, scheduler=scheduler)
    states = [r.state for r in study.records()]
    assert states == [*[TrialState.FINISHED] * 5, TrialState.STOPPED, TrialState.FINISHED]
    stopped = study.record(5)
    assert stopped.epochs == 4
    assert stopped.reason.startswith("hopeless: H-mean 0.0009 after 4 epochs, while most of 5")
    trained = (tmp_path / "trials/00005/trained.txt").read_text().split()
    assert trained[:4] == ["1", "2", "3", "4"]
    assert len(trained) < 12  # its process was told to leave
    own = [event for event in told.events if event.startswith(("5: ", "started 5", "ended 5"))]
    assert own == ["started 5", "5: 1", "5: 2", "5: 3", "5: 4", "ended 5"]


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_copies_its_data_gives_signs_of_life(tmp_path):
    def trial(job, report):
        alive = signs_of_life(report, every_s=0.0)
        for _ in range(2):
            alive()
        counting(job, report)

    told, counting = Told(breaks=False), counting_trial(0.0)
    (record,) = search(tmp_path, trial, make_space(1, grace=EPOCHS), [told]).records()
    assert told.events[:4] == ["started 0", "alive 0", "alive 0", "0: 1"]
    assert record.state is TrialState.FINISHED


def test_signs_of_life_are_given_now_and_then():
    signs: list[dict] = []
    alive = signs_of_life(signs.append, every_s=60.0)
    for _ in range(1000):
        alive()
    assert signs == []


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_listener_raises_ends_the_search_and_costs_no_trial(tmp_path):
    told, space = Told(breaks=True), make_space(2, grace=EPOCHS)
    with pytest.raises(ZeroDivisionError, match="a listener broke"):
        search(tmp_path, counting_trial(0.1), space, [told], concurrent=1)
    assert told.events == ["started 0", "0: 1", "0: 2"]
    (record,) = make_run(tmp_path, space).records()
    assert (record.state, record.epochs) == (TrialState.RUNNING, 2)
    study = search(tmp_path, counting_trial(0.0), space, concurrent=1)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 2


def by_tune(error):
    """As Ray Tune passes on what it met: twice its own, with the text."""
    try:
        try:
            raise error
        except Exception as met:
            raise TuneError(f"Traceback ... {met}")  # noqa: B904
    except TuneError as own:
        raise TuneError("The Ray Tune run failed") from own


@pytest.mark.usefixtures("ray_cluster")
def test_what_the_first_proposal_raises_ends_the_search_too(tmp_path):
    # Nothing is running, and Tune would ask again and again for something that is.
    with pytest.raises(ValueError, match=r"0\.5 of parameter 'loss.negative_ratio' isn't"):
        search(tmp_path, counting_trial(0.0), make_space(1, warm_start=[0.5]))


def test_what_tune_met_is_raised_in_place_of_its_own_error():
    full = OSError(errno.ENOSPC, "No space left on device", "/runs/x/.ray/tune")
    with pytest.raises(OSError) as caught, unwrapped():
        by_tune(full)
    assert caught.value is full
    with pytest.raises(TuneError, match="of its own"), unwrapped():
        raise TuneError("of its own")


@pytest.fixture
def scheduler():
    return Asha(make_space().budget)


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


def test_a_lost_worker_is_explained_to_the_bridge(scheduler, tmp_path):
    run = make_run(tmp_path, make_space())
    scheduler.bridge = Bridge(SearchJobs(run), [], None)
    assert scheduler.bridge.suggest("t")["job"].number == 0
    lost = SimpleNamespace(trial_id="t", pickled_error_file=None, error_file=tmp_path / "error.txt")
    lost.error_file.write_text("1 worker(s) were killed due to the node running low on memory.")
    scheduler.on_trial_error(None, lost)
    scheduler.bridge.on_trial_complete("t", error=True)
    (record,) = run.records()
    assert record.reason.startswith("out of memory: its machine ran low")


def test_tune_can_pickle_and_snapshot_the_bridge(tmp_path):
    bridge = Bridge(SearchJobs(make_run(tmp_path, make_space())), [], None)
    assert pickle.loads(pickle.dumps(bridge)).__dict__ == {}
    assert pickle.loads(pickle.dumps(Steps(bridge))).__dict__ == {}
    bridge.save_to_dir(str(tmp_path))
    assert not list(tmp_path.glob("searcher-state*"))


def test_the_driver_can_be_found_by_the_process_that_is_killed():
    assert callable(runpy.run_path(__file__)["drive"])
