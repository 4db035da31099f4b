"""A search whose trials are cheap, keep account of what they do, and get into planned trouble.

`python benchmarks/chaos_search.py PLAN key=value...` is the search command with such trials; the
other `chaos_*` modules start it. PLAN is a JSON object: `kind` is "counted" (a trial counts epochs
in a file) or "detector" (it trains the network), `epochs`, `seconds` an epoch, and `troubles`, by
"TRIAL/EPOCH", of which each happens once while that epoch is trained.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from detector.config.cli import guarded
from detector.core.files import write_text
from orchestrator import search
from orchestrator.execute.trial import Report, TrialFunction
from orchestrator.store import storage
from orchestrator.trials.job import TrialJob

ACCOUNT = "account.txt"  # of each trial: `start E` and `epoch E`, a line each, as they happened
STATE = "state.json"  # of each trial: the epoch and the chain of digests up to it
RATIO = "loss.negative_ratio"


def chain_of(number: int, epochs: int) -> str:
    """What stands for the weights of a trial after so many epochs: each follows from the last."""
    digest = ""
    for epoch in range(1, epochs + 1):
        digest = hashlib.sha256(f"{digest} {number} {epoch}".encode()).hexdigest()
    return digest


def score(ratio: float, epoch: int) -> float:
    """An H-mean that gets better with each epoch, and the better the nearer the ratio is to 4."""
    return (1 - abs(ratio - 4) / 10) * (1 - 0.5**epoch)


def counted(plan: dict[str, Any]) -> TrialFunction:
    """A trial that goes on from its state file, as a training does from its checkpoint."""
    epochs, seconds, troubles = plan["epochs"], plan["seconds"], plan["troubles"]

    def trial(job: TrialJob, report: Report) -> None:
        state, best = job.folder / STATE, job.folder / "checkpoint" / "best"
        done: dict[str, Any] = {"epoch": 0, "chain": ""}
        if state.exists():
            done = json.loads(state.read_text())
        start = int(done["epoch"])
        note(job, f"start {start}")
        until = job.until or epochs
        for epoch in range(min(start + 1, until), until + 1):
            if epoch > start:
                hmean = trouble(job, troubles.get(f"{job.number}/{epoch}"))
                time.sleep(seconds)
                text = f"{done['chain']} {job.number} {epoch}"
                done = {"epoch": epoch, "chain": hashlib.sha256(text.encode()).hexdigest()}
                write_text(best / "model.safetensors", done["chain"])
                write_text(best / "config.yaml", "model: {}\n")
                write_text(state, json.dumps(done))
                note(job, f"epoch {epoch}")
            else:  # it was done, and its last report was lost with the driver
                hmean = None
            value = score(job.params[RATIO], done["epoch"]) if hmean is None else hmean
            report(
                {
                    "epoch": done["epoch"],
                    "best_epoch": done["epoch"],
                    "hmean": value,
                    "best_hmean": value,
                    "finished": done["epoch"] == epochs,
                    "seconds": seconds * done["epoch"],
                    "checkpoint": f"trials/{job.folder.name}/checkpoint/best",
                    "page_hmeans": {"a.jpg": value, "b.jpg": value},
                }
            )

    return trial


def detector(plan: dict[str, Any]) -> TrialFunction:
    """The training of the detector, with trouble in the epoch after the one that is reported."""
    troubles = plan["troubles"]

    def trial(job: TrialJob, report: Report) -> None:
        from orchestrator.execute.trial import detector_trial
        from orchestrator.space.search_space import load_space

        def forward(values: dict[str, Any]) -> None:
            note(job, f"epoch {values['epoch']}")
            report(values)
            trouble(job, troubles.get(f"{job.number}/{values['epoch'] + 1}"))

        note(job, "start")
        space = load_space(str(job.folder.parents[1] / "space.yaml"), gpu=False)
        detector_trial(space, threads=1)(job, forward)

    return trial


def note(job: TrialJob, line: str) -> None:
    """Keep account of what a trial does."""
    with (job.folder / ACCOUNT).open("a") as file:
        print(line, file=file, flush=True)


def trouble(job: TrialJob, kind: str | None) -> float | None:
    """Get into trouble, once; the score to report where the trouble is one.

    A trial that is too large for the memory is so again when it is tried alone.
    """
    mark = job.folder / f"trouble-{kind}.txt"
    if kind is None or (mark.exists() and kind != "out_of_memory"):
        return None
    mark.write_text(str(os.getpid()))
    if kind == "exception":
        raise ValueError("the data is not as it should be")
    if kind == "out_of_memory":
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")
    if kind == "nan_loss":
        from detector.core.errors import JobError

        raise JobError("the loss is not finite at step 3; try a smaller optimizer.lr")
    if kind == "hang":
        time.sleep(100_000)
    if kind == "stopped":  # as by a debugger, or a device that never answers: no line of ours runs
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "killed":  # a little later, in the middle of the epoch
        threading.Timer(
            0.05 + 0.1 * (job.number % 3), os.kill, (os.getpid(), signal.SIGKILL)
        ).start()
    if kind == "corrupted":  # what a disk gives back is not always what it was given
        last = job.folder / "checkpoint" / "last.safetensors"
        with last.open("r+b") as file:
            file.truncate(last.stat().st_size - 100)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "vanished":
        sorted(job.folder.parents[2].glob("synthetic-*/images/val/*.jpg"))[0].unlink()
    return math.nan if kind == "nan_score" else None


def main() -> int:
    """The search command with the trials of a plan."""
    # A shell lets what it starts in the background ignore Ctrl-C, and a search would go on to.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plan = {"kind": "counted", "epochs": 4, "seconds": 0.1, "troubles": {}} | json.loads(
        sys.argv[1]
    )
    storage.LOCK_TIMEOUT_S = plan.get("lock_timeout_s", storage.LOCK_TIMEOUT_S)
    trial = {"counted": counted, "detector": detector}[plan["kind"]](plan)
    Path("driver.txt").write_text(str(os.getpid()))
    return guarded(lambda: search.main(sys.argv[2:], trial=trial))


if __name__ == "__main__":
    raise SystemExit(main())
