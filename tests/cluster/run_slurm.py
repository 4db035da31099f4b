"""The whole life of jobs of `clusters/slurm.sbatch`, on a Slurm made for it.

A search whose worker's Ray is killed, which is told that its time is over, whose job is requeued
from outside, and whose head's Ray is killed; the same search left alone; wrong ones; two at once on
one machine; and one that is cancelled. Run as root in namespaces of its own, which `test_slurm.py`
makes; prints one JSON object about what happened. Arguments: an empty folder to work in, and a
folder of pages.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodes import GATEWAY, make_network, run
from safetensors.torch import load_file
from slurm import Job, call, look, start_slurm, submit

from orchestrator.run.study import stored_study
from orchestrator.store.storage import storage_url
from orchestrator.trials.records import TrialRecord

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "clusters" / "slurm.sbatch"
SOCKETS = Path("/mnt")  # of Ray, in place of /tmp: seen by this story alone
WAIT_S = 400.0
EPOCHS = 6
SPACE = f"""\
description: a space for a test of Slurm
fixed:
  data.longest_side_px: 224
  augment.crop_px: 64
  model.backbone: mobilenetv3_small_050
  model.weights: none
  model.neck_channels: 16
  train.batch_size: 2
parameters:
  optimizer.lr: {{log_uniform: [5.0e-4, 4.0e-3]}}
budget: {{trials: 4, epochs: {EPOCHS}, grace_epochs: {EPOCHS}, reduction_factor: 2}}
"""
# The first machine has one core and the second two: trials train on the second, Ray's worker.
WHOLE = ("--nodes=2", "--exclusive", "--cpus-per-task=1", "--gpus-per-node=0")
SHARED = ("--nodes=1", "--nodelist=n2", "--cpus-per-task=1", "--gpus-per-node=0")


def main(work: Path, pages: Path) -> dict[str, Any]:
    """The story; what it found, for the test to judge."""
    begin(work)
    common = ("space=space.yaml", f"data.root={pages}", "resources.gpus_per_trial=0")
    alone = (*common, "resources.cpus_per_trial=2", "budget.concurrent=1")
    found: dict[str, Any] = {"hurt": hurt(work, [*alone, "name=hurt"])}
    calm = submit(*WHOLE, SCRIPT, *alone, "name=calm")
    found["calm"] = asdict(over(calm))
    folders = {name: work / "runs" / name for name in ("hurt", "calm")}
    found["boards"] = {name: board(folder) for name, folder in folders.items()}
    found["weights"] = {name: weights(folder) for name, folder in folders.items()}
    found["wrong"] = wrong(work, common)
    small = (*common, "resources.cpus_per_trial=1")
    found["pair"] = pair(work, (*small, "budget.trials=1"))
    found["cancelled"] = cancelled(work, small)
    found["left"] = [str(path) for path in (*work.glob(".ray-*"), *SOCKETS.iterdir())]
    found["processes"] = processes("raylet")
    return found


def begin(work: Path) -> None:
    """Slurm, an environment as a user's shell has it, and the folder that jobs are given in."""
    make_network()
    run("ip", "route", "add", "default", "dev", "lan")
    run("mount", "-t", "tmpfs", "none", str(SOCKETS))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        os.environ.pop(name, None)
    os.environ |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_TMPDIR": str(SOCKETS),
        "RAY_AUTH_TOKEN": "that of another cluster",
    }
    start_slurm(work / "slurm", GATEWAY)
    (work / "space.yaml").write_text(SPACE, encoding="utf-8")
    os.chdir(work)


def hurt(work: Path, arguments: list[str]) -> dict[str, Any]:
    """A search through four faults, each in the middle of a trial of its own."""
    job, folder = submit(*WHOLE, SCRIPT, *arguments), work / "runs" / "hurt"
    until(lambda: amid(job, folder, 0), "the first trial to be on its way")
    found = {"token": oct((work / f".ray-{job}" / "token").stat().st_mode & 0o777)}
    found["machines"] = len(processes("raylet"))
    os.kill(raylet_of("n2"), signal.SIGKILL)
    until(lambda: amid(job, folder, 1), "the second trial after a worker's loss")
    call("scancel", "--batch", "--signal=USR1", job)
    until(lambda: look(job).restarts == 1, "the job to go back by itself")
    until(lambda: amid(job, folder, 2), "the third trial after the end of the time")
    call("scontrol", "requeue", job)
    until(lambda: amid(job, folder, 3), "the fourth trial after a requeue from outside")
    os.kill(raylet_of("n1"), signal.SIGKILL)
    found["end"] = asdict(over(job))
    found["log"] = said(work, job)
    return found | {"resumed": [resumed(folder, trial) for trial in range(4)]}


def wrong(work: Path, common: tuple[str, ...]) -> dict[str, Any]:
    """Jobs that cannot succeed: they end, and do not come back."""
    typed = submit(*SHARED, SCRIPT, *common, "name=wrong", "budget.trails=1")
    more = submit(*SHARED, SCRIPT, *common, "name=more", "budget.trials=+1")
    ends = [asdict(over(job)) for job in (typed, more)]
    return {"ends": ends, "logs": [said(work, job) for job in (typed, more)]}


def pair(work: Path, small: tuple[str, ...]) -> dict[str, Any]:
    """Two searches at once on one machine, each with its own Ray."""
    jobs = [submit(*SHARED, SCRIPT, *small, f"name={name}") for name in ("left", "right")]
    until(lambda: all(look(job).state == "RUNNING" for job in jobs), "both jobs to run")
    until(lambda: len(processes("raylet")) == 2, "both to have a Ray")
    ends = [asdict(over(job)) for job in jobs]
    addresses = [re.findall(r"searches with Ray at (\S+):", said(work, job)) for job in jobs]
    return {"ends": ends, "addresses": addresses}


def cancelled(work: Path, small: tuple[str, ...]) -> dict[str, Any]:
    """A search that its user ends, and goes on with by the same line."""
    line = (*SHARED, SCRIPT, *small, "name=again")
    job, folder = submit(*line), work / "runs" / "again"
    until(lambda: read(folder) or look(job).code, "the first trial")
    call("scancel", job)
    until(lambda: look(job).state == "CANCELLED", "the job to be cancelled")
    first = asdict(look(job))
    second = submit(*line)
    return {"first": first, "second": asdict(over(second)), "log": said(work, second)}


def amid(job: str, folder: Path, trial: int) -> bool:
    """Whether a trial is in the middle of its training now; RuntimeError if it is too late."""
    records = {int(record.trial): record for record in read(folder)}
    if look(job).state not in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING"):
        raise RuntimeError(f"the job is {look(job)}")
    if trial not in records:
        return False
    if records[trial].state.is_over:
        raise RuntimeError(f"trial {trial} is over already")
    return 2 <= records[trial].epochs <= EPOCHS - 2


def read(folder: Path) -> list[TrialRecord]:
    """What the study of the run says now; nothing before its first trial."""
    if not any(folder.glob("trials/*/log.txt")):  # reading would make a study
        return []
    return stored_study(storage_url(folder, None), folder.name).records()


def board(folder: Path) -> list[dict[str, str]]:
    """The leaderboard, without what is measured by the clock."""
    with (folder / "leaderboard.csv").open(newline="") as file:
        return [
            {key: value for key, value in row.items() if not re.search("second|minute|ms", key)}
            for row in csv.DictReader(file)
        ]


def weights(folder: Path) -> list[str]:
    """Digests of each trial's last weights, optimizer and random state, in the order of trials."""
    return [digest(path) for path in sorted(folder.glob("trials/*/checkpoint/last.safetensors"))]


def digest(path: Path) -> str:
    """That of a file's tensors; beside them there is the time that they took."""
    tensors = sorted(load_file(path).items())
    parts = (f"{name} {t.dtype} {t.tolist()}".encode() for name, t in tensors)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def resumed(folder: Path, trial: int) -> list[int]:
    """The epochs after which a trial was resumed, from its log."""
    log = (folder / "trials" / f"{trial:05d}" / "log.txt").read_text(encoding="utf-8")
    return [int(epoch) for epoch in re.findall(r"resuming after epoch (\d+)", log)]


def over(job: str) -> Job:
    """The job when it has ended for good."""
    ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
    until(lambda: look(job).state in ended, f"job {job} to end")
    return look(job)


def said(work: Path, job: str) -> str:
    return (work / f"receipts-{job}.log").read_text(encoding="utf-8", errors="replace")


def raylet_of(machine: str) -> int:
    """The process of Ray on a machine of Slurm's, which its environment names."""
    mark = f"SLURMD_NODENAME={machine}".encode()
    (found,) = [
        pid
        for pid in processes("raylet")
        if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    ]
    return found


def processes(program: str) -> list[int]:
    """The processes of a program."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if (path / "exe").readlink().name == program:
                found.append(int(path.name))
    return found


def until(check: Callable[[], Any], what: str) -> None:
    """Wait for a true answer; RuntimeError when it takes too long."""
    begin = time.monotonic()
    while not check():
        if time.monotonic() - begin > WAIT_S:
            raise RuntimeError(f"waited {WAIT_S:g} s in vain for {what}")
        time.sleep(0.2)
    print(f"{what}: after {time.monotonic() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())))
