"""The faults that `chaos.py` injects: each is a search of its own that is hurt and must recover.

A fault takes a `Run` that has not begun and a random generator, and returns how many faults it
injected and every promise that was broken (see `chaos_runs.losses`).
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from random import Random
from typing import Any

from chaos_runs import Run, losses, over, search_path, wait_for
from ray.cluster_utils import Cluster
from s3_store import CREDENTIALS, Store

from orchestrator.trials.records import TrialRecord

Result = tuple[int, list[str]]
Fault = Callable[[Run, Random], Result]
DRIVER_KILLS = 10
# Troubles of a trial that end it, with how the leaderboard's reason begins; and those that do not.
FATAL = {
    "exception": "ValueError: the data is not as it should be",
    "nan_loss": "the loss is not finite",
    "nan_score": "epoch 2: best_hmean is nan",
    "out_of_memory": "out of memory: CUDA out of memory",
    "hang": "it reported no epoch for budget.hang_minutes",
    "stopped": "it reported no epoch for budget.hang_minutes",
}
HANG = "budget.hang_minutes=0.5"
REQUEUES = 4
NODE: dict[str, Any] = {"object_store_memory": 100_000_000}
NO_GPU = "Ray was told of 1 GPUs"
# What the machine lacks on which a search is to go on, and how the message begins.
LACKS = {
    "HOME": "HOME: /proc/none cannot be written",
    "RAY_TMPDIR": "RAY_TMPDIR: /proc/none cannot be written",
    "RAY_ADDRESS": "RAY_ADDRESS=127.0.0.1:1: no Ray cluster answers there",
}


def driver_killed(run: Run, random: Random) -> Result:
    """SIGKILL at random moments of one search, from before its first trial to its last."""
    run.trials = 12
    run.prepare()
    kills, broken = 0, []
    while kills < DRIVER_KILLS:
        before = over(run)
        run.start(resume=run.folder.exists())
        kills += died_at(run, signal.SIGKILL, random)
        if run.process is not None and run.process.returncode == 0:
            break  # over before it could be killed
        after = {r.trial: r for r in over(run)}
        broken += [f"trial {r.trial} changed" for r in before if after.get(r.trial) != r]
    return kills, broken + completed(run, faults=kills)


def interrupted(run: Run, random: Random) -> Result:
    """SIGTERM or SIGINT: exit 130 within seconds and the line that says how to go on."""
    run.prepare()
    number = random.choice([signal.SIGINT, signal.SIGTERM])
    run.start()
    run.until(lambda: run.epochs_trained() >= random.randint(1, 8), "some epochs")
    before = over(run)
    run.kill(number)
    code = run.wait()
    broken = [] if code == 130 else [f"exit code {code} after {number.name}"]
    if "Continue with:" not in run.said():
        broken.append(f"{number.name}: nothing says how to go on")
    wait_for(lambda: not run.children(), "the end of Ray's processes")
    return 1, broken + completed(run, before=before, faults=1)


def requeued(run: Run, random: Random) -> Result:
    """As a batch system has it: the same command with resume=auto after each SIGTERM and kill."""
    run.arguments, run.trials = ("resume=auto",), 8
    run.prepare()
    stops, broken = 0, []
    while stops < REQUEUES:
        before, number = over(run), random.choice([signal.SIGTERM, signal.SIGKILL])
        run.start()
        if not died_at(run, number, random):
            break  # over before it could be stopped
        stops += 1
        code = run.wait()
        # SIGTERM ends a process that has only begun as it ends any other.
        if code not in ((130, -number) if number is signal.SIGTERM else (-number,)):
            broken.append(f"exit code {code} after {number.name}: {run.said()}")
        wait_for(lambda: not run.children(), "the end of Ray's processes")
        after = {r.trial: r for r in over(run)}
        broken += [f"trial {r.trial} changed" for r in before if after.get(r.trial) != r]
    code = run.completed()
    broken += [] if code == 0 else [f"exit code {code} of the last start: {run.said()}"]
    return stops, broken + losses(run, [], faults=stops)


def refused_to_start(run: Run, random: Random) -> Result:
    """The head is killed, and where it is to go on something lacks: exit 2, nothing changes."""
    before = killed_amid(run, random)
    missing = random.choice(sorted(LACKS))
    run.address = "127.0.0.1:1" if missing == "RAY_ADDRESS" else "local"
    run.environment = {missing: "/proc/none"}
    broken = refused(run, LACKS[missing], f"without {missing}")
    run.environment, run.address = {}, "local"
    return 2, broken + completed(run, before=before, faults=1)


def machine_refused(run: Run, random: Random) -> Result:
    """It is to go on where one of several machines is not fit: exit 2, until that has gone."""
    head = {"num_cpus": 0, "include_dashboard": False, **NODE}
    os.environ["PYTHONPATH"] = search_path()  # of the machines too
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **NODE)
        run.address = cluster.address
        before = killed_amid(run, random)
        unfit = cluster.add_node(num_cpus=1, num_gpus=1, **NODE)
        broken = refused(run, NO_GPU, "beside a machine that is not fit")
        cluster.remove_node(unfit)
        return 2, broken + completed(run, before=before, faults=1)
    finally:
        cluster.shutdown()


def killed_amid(run: Run, random: Random) -> list[TrialRecord]:
    """Begin a search and kill it after some epochs; its trials that are over."""
    run.prepare()
    run.start()
    run.until(lambda: run.epochs_trained() >= random.randint(1, 6), "some epochs")
    run.kill()
    wait_for(lambda: not run.children(), "the end of Ray's processes")
    return over(run)


def refused(run: Run, message: str, where: str) -> list[str]:
    """Resume where that cannot be: what is broken unless it is exit 2 and the study as it was."""
    known = run.records()
    code = run.start(resume=True).wait()
    broken = []
    if code != 2 or message not in run.said():
        broken.append(f"exit code {code} {where}: {run.said()}")
    if run.records() != known:
        broken.append(f"a start {where} changed the study")
    return broken


def trial_troubles(run: Run, random: Random) -> Result:
    """Every trial but one gets into trouble of its own; the reason is in the leaderboard."""
    kinds = random.sample([*FATAL, "killed", "killed"], 6)
    run.trials, run.arguments = len(kinds) + 1, (HANG,)
    run.troubles = {f"{number}/2": kind for number, kind in enumerate(kinds)}
    run.prepare()
    code = run.completed()
    broken = [] if code == 0 else [f"exit code {code}: {run.said()}"]
    rows = run.rows()
    for number, kind in enumerate(kinds):
        reason = rows[f"{number:05d}"]["reason"]
        if not reason.startswith(FATAL.get(kind, "")) or (kind == "killed") != (reason == ""):
            broken.append(f"{kind}: the reason is {reason!r}")
    return len(kinds), broken + losses(run, [], faults=1)


def training_killed(run: Run, random: Random) -> Result:
    """The process of a real training killed twice, once with its last state cut short on disk."""
    run.kind, run.trials, run.epochs, run.grace = "detector", 2, 4, 4
    killed = {"0/2": "killed", "0/4": "corrupted", "1/3": random.choice(["killed", "corrupted"])}
    run.troubles = killed
    run.prepare()
    code = run.completed()
    broken = [] if code == 0 else [f"exit code {code}: {run.said()}"]
    broken += [f"trial {r.trial}: {r.reason}" for r in run.records() if r.reason]
    return len(killed), broken + losses(run, [], faults=2)


def database_locked(run: Run, random: Random) -> Result:
    """Another process holds study.db: a short time is waited for, a long one ends the search."""
    run.lock_timeout_s = 3.0
    run.prepare()
    run.start()
    run.until(lambda: run.epochs_trained() >= random.randint(1, 6), "some epochs")
    before, seconds = over(run), random.choice([1.0, 30.0])
    lock = sqlite3.connect(run.folder / "study.db", timeout=60)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        deadline = time.monotonic() + seconds
        while run.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        lock.close()
    code = run.wait()
    broken = [] if code in (0, 1) else [f"exit code {code}: {run.said()}"]
    if code == 1 and "continue with:" not in run.said():
        broken.append("a locked database: nothing says how to go on")
    return 1, broken + completed(run, before=before, faults=1)


def disk_full(run: Run, random: Random) -> Result:
    """A small file system fills in the middle of a search, and has space again for the next."""
    disk = run.base / "disk"
    disk.mkdir(parents=True)
    (run.base / "runs").symlink_to(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    try:
        run.prepare()
        run.start()
        run.until(lambda: run.epochs_trained() >= random.randint(1, 6), "some epochs")
        filler = disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            before = over(run)
        code = run.wait()
        broken = [] if code == 1 else [f"exit code {code} with a full disk"]
        if "continue with:" not in run.said():
            broken.append(f"a full disk: nothing says how to go on: {run.said()}")
        filler.unlink()
        return 1, broken + completed(run, before=before, faults=1)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def bucket_only(run: Run, random: Random) -> Result:
    """A run that is kept in a bucket: the store is away for a time, then the head and its disk.

    Some seconds are waited for; minutes end the search.
    """
    with Store() as store:
        os.environ.update(CREDENTIALS)
        run.environment = {"XDG_CACHE_HOME": str(run.base / "cache")}
        run.arguments, run.trials = (f"bucket={store.new_bucket()}",), 8
        run.prepare()
        run.start()
        run.until(lambda: run.epochs_trained() >= random.randint(1, 4), "some epochs")
        store.stop()
        broken = []
        if random.random() < 1 / 3:
            code = run.wait()
            if code != 1 or "continue with:" not in run.said():
                broken.append(f"exit code {code} without a store: {run.said()}")
            store.start()
            run.start(resume=True)
        else:
            time.sleep(random.uniform(1, 10))
            store.start()
        done = run.epochs_trained()
        run.until(lambda: run.epochs_trained() > done, "an epoch after the store was away")
        time.sleep(random.uniform(0, 2))
        before = over(run)
        run.kill()
        wait_for(lambda: not run.children(), "the end of Ray's processes")
        shutil.rmtree(run.base / "runs")
        shutil.rmtree(run.base / "cache", ignore_errors=True)
        return 2, broken + completed(run, before=before, faults=2)


def completed(run: Run, *, before: list | None = None, faults: int) -> list[str]:
    """Resume the run to its end; what was lost by then."""
    code = run.completed(resume=True)
    broken = [] if code == 0 else [f"exit code {code} of the resumed search: {run.said()}"]
    return broken + losses(run, before or [], faults=faults)


def died_at(run: Run, number: signal.Signals, random: Random) -> int:
    """Kill the driver at a random moment of its work; 0 when it ended before."""
    moment = random.choice(["folder", "ray", "epochs", "epochs", "epochs"])
    done, more, wait_s = run.epochs_trained(), random.randint(1, 4), random.uniform(0, 0.5)
    happened: dict[str, Callable[[], object]] = {
        "folder": run.folder.exists,
        "ray": lambda: len(run.children()) > 1,
        "epochs": lambda: run.epochs_trained() >= done + more,
    }
    wait_for(lambda: happened[moment]() or not run.is_running(), moment, told=run.said)
    time.sleep(wait_s)
    if not run.is_running():
        run.wait()
        return 0
    run.kill(number)
    return 1


FAULTS: dict[str, Fault] = {
    "driver killed (SIGKILL)": driver_killed,
    "SIGINT or SIGTERM": interrupted,
    "requeued by a batch system": requeued,
    "refused by a preflight": refused_to_start,
    "refused for one of several machines": machine_refused,
    "trials: error, NaN, memory, hang, kill": trial_troubles,
    "training killed, state corrupted": training_killed,
    "study.db locked": database_locked,
    "disk full": disk_full,
    "store away, head and disk lost": bucket_only,
}
