"""Searches on a cluster that grows and shrinks: no machine is kept that nothing could use."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import ray
from sessions import make_run, session_of

from orchestrator.execute import tuner
from orchestrator.execute.tuner import run_search
from orchestrator.place.cluster import connected, machines
from orchestrator.place.resources import Machine, TrialResources
from orchestrator.place.waiting import require_fit
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import Listener, TrialJob

PATIENCE_S = 180.0
RATIO = "loss.negative_ratio"
SPACE = SearchSpace(
    name="test",
    description="",
    fixed={},
    parameters={RATIO: Parameter(RATIO, "uniform", (1.0, 8.0))},
    warm_start=tuple({RATIO: ratio} for ratio in (4.0, 2.0, 3.0)),
    budget=Budget(trials=3, epochs=2, grace_epochs=1, reduction_factor=2),
)


def gpus() -> float:
    return sum(machine.gpus for machine in machines())


class Seen(Listener):
    """Prints how many GPUs the cluster has by what is at work, when that changes."""

    def __init__(self, tail: Path) -> None:
        self._tail, self._last, self._is_last = tail, "", False

    def started(self, job: TrialJob) -> None:
        """The job that trains to the end is the last one."""
        self._is_last = job.until == SPACE.budget.epochs

    def step(self) -> None:
        """Look at it; the last job goes on until its machine is the only one."""
        line = f"{'tail' if self._is_last else 'first rung'}: {gpus():g}"
        if line != self._last:
            print(line, flush=True)
        self._last = line
        if line == "tail: 1":
            self._tail.touch()


def waiting(file: Path, seconds: float = PATIENCE_S) -> None:
    """Return when the file is there."""
    end = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.2)


def trial_until(tail: Path) -> Any:
    """The first trial is promoted, and its second epoch waits for a file.

    The third one ends after that has begun, so that Tune would keep its worker for another.
    """
    begun = tail.with_name("begun")

    def trial(job: TrialJob, report: Any) -> None:
        time.sleep(2.0)
        if job.until == 2:
            begun.touch()
            waiting(tail)
        elif job.number == 2:
            waiting(begun)
        score, epoch = job.params[RATIO] / 10, job.until
        report({"epoch": epoch, "best_hmean": score, "finished": epoch == 2})

    return trial


def drive_search() -> None:
    """A search of three trials on at most two machines, and what is left a while after it."""
    tuner.KEPT_S = 2.0
    folder = Path(mkdtemp())
    with connected(Machine(1, 0)):
        require_fit(TrialResources(1, 1, None), say=lambda _: None)
        run = make_run(folder, SPACE)
        session = session_of(run, trial_until(folder / "tail"), gpus=1.0, concurrent=None)
        session = replace(session, resources=TrialResources(1, 1.0, None))
        run_search(session, [Seen(folder / "tail")], say=lambda _: None)
        print([record.state.value for record in run.records()])
        end = time.monotonic() + PATIENCE_S
        while gpus() and time.monotonic() < end:
            time.sleep(0.5)
        print(f"over: {gpus():g}", flush=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_idle_machines_go_while_the_last_trial_trains_and_after_the_search(head):
    lines = head({"CPU": 1, "GPU": 1}, idle_minutes=0.1).drive(__file__, "drive_search()")
    assert "first rung: 2" in lines  # asked for at once, though Tune shows one trial
    tail = [line for line in lines if line.startswith("tail")]
    assert tail[-1] == "tail: 1"
    assert lines[-2:] == ["['finished', 'stopped', 'stopped']", "over: 0"]


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_for_which_nothing_comes_gives_its_core_back(tmp_path, monkeypatch):
    monkeypatch.setattr(tuner, "KEPT_S", 0.5)
    tail = tmp_path / "tail"
    free: list[float] = []

    class Watching(Listener):
        def __init__(self) -> None:
            self._ended = False

        def ended(self, _: TrialJob) -> None:
            self._ended = True

        def step(self) -> None:
            cpus = ray.available_resources().get("CPU", 0.0)
            if self._ended and cpus >= 1 and not tail.exists():
                free.append(cpus)
                tail.touch()

    def trial(job: TrialJob, report: Any) -> None:
        begun = tail.with_name("begun")
        if job.number:
            begun.touch()
        end = time.monotonic() + 60
        while not (tail if job.number else begun).exists() and time.monotonic() < end:
            time.sleep(0.1)  # workers have this function, and not the others of this file
        report({"epoch": 1, "best_hmean": 0.5, "finished": True})

    budget = Budget(trials=2, epochs=1, grace_epochs=1, reduction_factor=2)
    run = make_run(tmp_path, replace(SPACE, budget=budget))
    run_search(session_of(run, trial), [Watching()])
    assert [record.state.value for record in run.records()] == ["finished", "finished"]
    assert free == [1.0]
