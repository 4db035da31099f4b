"""Lost workers, full machines and bugs on a real Ray: which trials are run again, and which not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory
from ray.air.execution import FixedResourceManager, ResourceRequest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.cluster_utils import Cluster
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.execute.failures import error_of, failure_of
from orchestrator.execute.memory_kills import memory_kills_reported
from orchestrator.execute.worker import SpoiltProcessError, UsedUpProcessError, in_this_process
from orchestrator.place.cluster import BEHAVIOUR, QUIET
from orchestrator.trials.failure import Failure, Kind, Retries

# As Ray 2.60 wrote them, with what differs from one time to the next shortened.
WORKER_DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Func\n\tpid: 1\n"
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker "
    "exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some "
    "common causes include: (1) the process was killed by the OOM killer due to high memory usage"
)
NODE_DIED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: ImplicitFunc\n"
    "The actor died because its node has died. Node Id: 55e7"
)
MEMORY = (
    "1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: "
    "10.0.0.2, ID: 2cfb) was 22.75GB used / 23.54GB limit (0.966)\nSelected to kill: "
    "(Actor(c795): pid=1027, actual memory used=1.50GB, worker ID=b60b)\nRefer to the documentation"
)
FULL = (
    "out of memory: its machine ran low, 22.75GB of 23.54GB; this trial had 1.50GB; run fewer "
    "trials at once (budget.concurrent, resources.cpus_per_trial), or use a smaller "
    "train.batch_size, augment.crop_px or data.workers"
)


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("train", f"Traceback ...\n{cause!r}", cause)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (RayActorError(error_msg=WORKER_DIED), Kind.LOST_WORKER, "its process died: "),
        (ActorDiedError(), Kind.LOST_WORKER, "its process died: "),
        (f"Failure # 1 (occurred at noon)\n{WORKER_DIED}", Kind.LOST_WORKER, "its process died: "),
        (RayActorError(error_msg=NODE_DIED), Kind.LOST_NODE, "the machine that it ran on "),
        (ActorUnavailableError("Socket closed", None), Kind.LOST_NODE, "the machine that it "),
        (RayActorError(preempted=True), Kind.LOST_NODE, "the machine that it ran on "),
        (OutOfMemoryError(MEMORY), Kind.NODE_OUT_OF_MEMORY, FULL),
        (RayActorError(error_msg=MEMORY), Kind.NODE_OUT_OF_MEMORY, FULL),
        (f"Failure # 1 (occurred at noon)\n{MEMORY}\n", Kind.NODE_OUT_OF_MEMORY, FULL),
        (OutOfMemoryError("no figures"), Kind.NODE_OUT_OF_MEMORY, "out of memory: its machine "),
        (task_error(ValueError("a\nb")), Kind.BUG, "ValueError: a b"),
        (task_error(SpoiltProcessError("CUDA error: x")), Kind.BUG, "CUDA error: x"),
        (task_error(UsedUpProcessError("left 90 MiB")), Kind.LOST_WORKER, "left 90 MiB"),
        (task_error(RayActorError(error_msg=NODE_DIED)), Kind.LOST_NODE, "the machine that "),
        (ActorDiedError(task_error(ImportError("no x"))), Kind.BUG, "its process could not start"),
        ("something\nelse", Kind.BUG, "else"),
        (None, Kind.BUG, "unknown"),
    ],
)
def test_what_ray_says_is_read(error, kind, reason):
    found = failure_of(error)
    assert found.kind is kind
    assert found.reason.startswith(reason)
    assert "\n" not in found.reason


def test_a_trial_is_tried_again_while_it_gets_further():
    lost, full = Failure(Kind.LOST_NODE, "gone"), Failure(Kind.NODE_OUT_OF_MEMORY, "full")
    retries = Retries(most=2)
    assert [retries.verdict(5, epoch, lost) for epoch in (0, 0, 1, 1, 2)] == [None] * 5
    assert retries.verdict(6, 0, lost) is None
    assert retries.verdict(5, 1, lost) == "its worker was lost 3 times after epoch 1: gone"
    assert retries.verdict(7, 0, full) == "full"
    assert retries.verdict(7, 0, Failure(Kind.BUG, "wrong")) == "wrong"


class Jobs(Searcher):
    """Hands out trials 0, 1, ... and those again that were lost, as a search does."""

    def __init__(self, count: int, folder: Path) -> None:
        super().__init__(metric="value", mode="max")
        self.waiting, self.live = deque(range(count)), {}
        self.folder, self.retries = folder, Retries(most=1)
        self.ended: dict[int, str] = {}
        self.errors: dict[str, Any] = {}

    def suggest(self, trial_id):
        if not self.waiting:
            return None if self.live else Searcher.FINISHED
        self.live[trial_id] = number = self.waiting.popleft()
        return {"number": number, "folder": str(self.folder)}

    def on_trial_complete(self, trial_id, result=None, error=False):
        number = self.live.pop(trial_id)
        reason = (result or {}).get("error", "done")
        if error:
            reason = self.retries.verdict(number, 0, failure_of(self.errors[trial_id]))
        if reason is None:
            self.waiting.appendleft(number)
        else:
            self.ended[number] = reason

    def save(self, checkpoint_path):
        pass

    def restore(self, checkpoint_path):
        pass

    def __getstate__(self):
        return {}


class Telling(FIFOScheduler):
    """Tells the searcher of an error before Tune says that there was one."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__()
        self.jobs = jobs

    def on_trial_result(self, _controller, _trial, result):
        return self.STOP if result.get("stop") else self.CONTINUE

    def on_trial_error(self, _controller, trial):
        self.jobs.errors[trial.trial_id] = error_of(trial)

    def __getstate__(self):
        return {}


def run_jobs(trial, count: int, folder: Path, *, gpus=0.0, at_once=1, callbacks=()) -> Jobs:
    """Run trials as the tuner does: no retries by Tune, processes reused."""
    os.environ.update(BEHAVIOUR | QUIET)
    jobs = Jobs(count, folder)

    def trainable(config):
        number, folder = config["number"], Path(config["folder"])
        with (folder / f"starts-{number}.txt").open("a") as file:
            print(os.getpid(), ray.get_runtime_context().get_node_id(), file=file)
        in_this_process(
            lambda: trial(number, folder),
            explain=lambda error: f"{type(error).__name__}: {error}",
            report=lambda reason: tune.report({"error": reason}),
        )

    request = tune.PlacementGroupFactory([{"CPU": 1, "GPU": gpus}])
    with memory_kills_reported():
        tune.Tuner(
            tune.with_resources(trainable, request),
            tune_config=tune.TuneConfig(
                search_alg=jobs,
                scheduler=Telling(jobs),
                num_samples=-1,
                max_concurrent_trials=at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder / ".ray"),
                failure_config=tune.FailureConfig(max_failures=0),
                callbacks=list(callbacks),
                verbose=0,
            ),
        ).fit()
    return jobs


def starts(folder: Path, number: int) -> list[tuple[int, str]]:
    """The process and machine of every time that a trial was begun."""
    path = folder / f"starts-{number}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), node) for pid, node in map(str.split, lines)]


@pytest.mark.usefixtures("ray_cluster")
def test_a_process_is_reused_until_it_dies_or_is_spoilt(tmp_path):
    def trial(number, folder):
        from ray import tune

        if number == 1:
            raise ValueError("a bug")
        if number == 2:
            raise RuntimeError("CUDA error: device-side assert triggered\nmore")
        attempts = len((folder / f"starts-{number}.txt").read_text().splitlines())
        if number == 4 and attempts == 1:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        tune.report({"value": 1.0})

    jobs = run_jobs(trial, 6, tmp_path)
    assert jobs.ended == {
        0: "done",
        1: "ValueError: a bug",
        2: "RuntimeError: CUDA error: device-side assert triggered\nmore",
        3: "done",
        4: "done",
        5: "done",
    }
    pids = [[pid for pid, _ in starts(tmp_path, number)] for number in range(6)]
    assert [len(p) for p in pids] == [1, 1, 1, 1, 2, 1]  # only a lost process is tried again
    first, second, third = pids[0][0], pids[3][0], pids[5][0]
    assert len({first, second, third}) == 3
    assert [p[-1] for p in pids] == [first, first, first, second, third, third]
    assert pids[4] == [second, third]


@pytest.mark.usefixtures("ray_cluster")
def test_a_stopped_trial_may_take_its_time_to_clean_up(tmp_path):
    def trial(number, folder):
        import time

        from ray import tune

        try:
            tune.report({"value": 1.0, "stop": number == 0})
        finally:
            time.sleep(2.5)  # Tune itself waits for two seconds
            (folder / f"cleaned-{number}").touch()

    jobs = run_jobs(trial, 2, tmp_path)
    assert jobs.ended == {0: "done", 1: "done"}
    assert starts(tmp_path, 0)[0] == starts(tmp_path, 1)[0]
    assert (tmp_path / "cleaned-0").exists()


@pytest.mark.usefixtures("ray_cluster")
def test_tune_is_told_of_an_error_that_it_does_not_know():
    heard: list[Exception] = []

    def fail(error: Exception) -> None:
        actor, request = TrackedActor(1), ResourceRequest([{"CPU": 1}])
        resources = FixedResourceManager({"CPU": 1})
        resources.request_resources(request)
        manager = RayActorManager(resource_manager=resources)
        acquired = resources.acquire_resources(request)
        manager._live_actors_to_ray_actors_resources[actor] = (None, acquired)
        task = TrackedActorTask(actor, on_error=lambda _, error: heard.append(error))
        manager._actor_task_failed(task, error)

    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        fail(OutOfMemoryError(MEMORY))
    with memory_kills_reported():
        fail(OutOfMemoryError(MEMORY))
        fail(RayActorError(error_msg=WORKER_DIED))
    assert [failure_of(e).kind for e in heard] == [Kind.NODE_OUT_OF_MEMORY, Kind.LOST_WORKER]
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        fail(OutOfMemoryError(MEMORY))


def driven(name: str, folder: Path) -> dict[str, Any]:
    """What a function of this file writes in a process of its own, with a Ray of its own."""
    code = f"import runpy; runpy.run_path({__file__!r})[{name!r}]({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
    return json.loads((folder / "jobs.json").read_text())


def drive_full_machine(folder: str) -> None:
    """Trial 0 takes memory until Ray, told that little is left, kills it."""

    def trial(number, _folder):
        import time

        from ray import tune

        taken = []
        while number == 0 and len(taken) < 80:
            taken.append(b"x" * 50_000_000)
            time.sleep(0.05)
        tune.report({"value": 1.0})

    limit = get_used_memory() + 1_500_000_000
    settings = {
        "memory_usage_threshold": limit / get_system_memory(),
        "memory_monitor_refresh_ms": 50,
        "task_oom_retries": 0,  # of starting a process, should something else take the memory
    }
    ray.init("local", num_cpus=1, log_to_driver=False, logging_level=50, _system_config=settings)
    jobs = run_jobs(trial, 1, Path(folder))
    (Path(folder) / "jobs.json").write_text(json.dumps(jobs.ended))


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_that_fills_the_machine_fails_once_and_ends_no_search(tmp_path):
    ended = driven("drive_full_machine", tmp_path)
    assert ended["0"].startswith("out of memory: its machine ran low, ")
    assert len(starts(tmp_path, 0)) <= 1  # 0 when something else took the memory first


class Removal(Callback):
    """Takes the machine away that trial 0 runs on, once it has reported."""

    def __init__(self, cluster: Cluster, node: Any) -> None:
        self.cluster, self.node = cluster, node

    def on_trial_result(self, *, trial, **_):
        if self.node is not None and trial.config["number"] == 0:
            node, self.node = self.node, None
            self.cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
            self.cluster.remove_node(node, allow_graceful=False)

    def __reduce__(self):
        return Callback, ()


def drive_lost_machine(folder: str) -> None:
    def trial(number, folder):
        import time

        from ray import tune

        if number == 1:
            raise ValueError("a bug")
        for _ in range(100):
            tune.report({"value": 1.0})
            if len((folder / "starts-0.txt").read_text().splitlines()) == 2:
                return
            time.sleep(0.3)

    settings = {"health_check_period_ms": 500}  # until then trials are placed on dead machines
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": settings})
    node = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    ray.init(cluster.address, log_to_driver=False, logging_level=50)
    jobs = run_jobs(trial, 2, Path(folder), callbacks=[Removal(cluster, node)])
    (Path(folder) / "jobs.json").write_text(json.dumps(jobs.ended))
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.ray
def test_a_lost_machine_is_no_fault_of_its_trial_but_a_bug_is(tmp_path):
    ended = driven("drive_lost_machine", tmp_path)
    assert ended == {"0": "done", "1": "ValueError: a bug"}
    (_, first), (_, second) = starts(tmp_path, 0)
    assert first != second
    assert len(starts(tmp_path, 1)) == 1
