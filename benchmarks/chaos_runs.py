"""One search in a process of its own: started, hurt, resumed; and whether anything was lost by it.

Nothing here trusts the process: what is promised is read from its files when it has ended.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_search import ACCOUNT, STATE, chain_of

from orchestrator.run.as_records import trial_id
from orchestrator.run.study import stored_study
from orchestrator.store.storage import storage_url
from orchestrator.trials.records import TrialRecord, TrialState

PROGRAM = Path(__file__).with_name("chaos_search.py")
MARK = "CHAOS_RUN"  # environment variable of a search and of all processes that it starts
SPACE = """\
fixed: {{data.longest_side_px: 224, data.train_pages: 2, data.val_pages: 2}}
parameters:
  model.backbone: {{choice: [resnet18, resnet34]}}
  loss.negative_ratio: {{uniform: [1.0, 8.0]}}
budget: {{trials: {trials}, epochs: {epochs}, grace_epochs: {grace}, reduction_factor: 2}}
"""
# Seconds an epoch on one core; two backbone names, since a name is what folders are called by.
DETECTOR_SPACE = """\
fixed:
  {{data.longest_side_px: 224, data.train_pages: 4, data.val_pages: 2, augment.crop_px: 64,
    model.weights: none, model.neck_channels: 16, train.batch_size: 2}}
parameters:
  model.backbone: {{choice: [mobilenetv3_small_050]}}
  optimizer.lr: {{log_uniform: [5.0e-4, 4.0e-3]}}
warm_start: [{{model.backbone: mobilenetv3_small_050, optimizer.lr: 2.0e-3}}]
budget: {{trials: {trials}, epochs: {epochs}, grace_epochs: {grace}, reduction_factor: 2}}
"""
ARGUMENTS = (
    *("space=space.yaml", "name=run"),
    *("resources.gpus_per_trial=0", "resources.cpus_per_trial=1"),
)
PATIENCE_S = 400.0  # for anything that must happen; a busy machine is slow, a broken promise never


def search_path() -> str:
    """PYTHONPATH of processes that are to run this checkout."""
    return os.pathsep.join(filter(None, [str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH")]))


@dataclass
class Run:
    """A run below `base`, of trials that count epochs or, with kind "detector", train."""

    base: Path
    trials: int = 6
    epochs: int = 4
    grace: int = 2
    kind: str = "counted"
    seconds: float = 0.1
    lock_timeout_s: float = 60.0
    troubles: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = "local"  # of the Ray that it joins; local starts one
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """Write its space; the settings above count until then."""
        self.base.mkdir(parents=True, exist_ok=True)
        text = DETECTOR_SPACE if self.kind == "detector" else SPACE
        budget = {"trials": self.trials, "epochs": self.epochs, "grace": self.grace}
        (self.base / "space.yaml").write_text(text.format(**budget))

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.base / "runs" / "run"

    def start(self, *more: str, resume: bool = False) -> Run:
        """Begin the search, or continue it; what it prints goes to files."""
        if not (self.base / "space.yaml").exists():
            self.prepare()
        plan = {"kind": self.kind, "epochs": self.epochs, "seconds": self.seconds}
        plan |= {"troubles": dict(self.troubles), "lock_timeout_s": self.lock_timeout_s}
        given = [*ARGUMENTS, *self.arguments, *more, *(["resume=true"] if resume else [])]
        changed = {MARK: self.mark, "PYTHONPATH": search_path()}
        with (self.base / "out.txt").open("a") as out, (self.base / "err.txt").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), json.dumps(plan), *given],
                cwd=self.base,
                stdout=out,
                stderr=err,
                text=True,
                env=os.environ | self.environment | changed | {"RAY_ADDRESS": self.address},
                start_new_session=True,
            )
        return self

    def until(self, happened: Callable[[], Any], what: str) -> None:
        """Wait while the search works; TimeoutError when it ends or nothing happens."""
        assert self.process is not None
        wait_for(happened, what, while_=self.is_running, told=self.said)

    def wait(self) -> int:
        """The exit code of the search, which ends by itself."""
        assert self.process is not None
        try:
            return self.process.wait(timeout=PATIENCE_S)
        finally:
            self.process.kill()

    def completed(self, *more: str, resume: bool = False) -> int:
        """Start or continue it, and wait for its end."""
        return self.start(*more, resume=resume).wait()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the driver, and to none of its children."""
        assert self.process is not None
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait()

    def is_running(self) -> bool:
        """Whether the driver is alive."""
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        """Leave no process behind."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        """What the last process wrote to stderr."""
        return (self.base / "err.txt").read_text(errors="replace")

    def epochs_trained(self) -> int:
        """How many epochs all trials have trained so far, those trained again included."""
        return sum(
            line.startswith("epoch")
            for path in self.folder.glob(f"trials/*/{ACCOUNT}")
            for line in path.read_text().splitlines()
        )

    def records(self) -> list[TrialRecord]:
        """What the study has about each trial, read anew."""
        return stored_study(storage_url(self.folder, None), "run").records()

    def rows(self) -> dict[str, dict[str, str]]:
        """The leaderboard by trial."""
        with (self.folder / "leaderboard.csv").open(newline="") as file:
            return {row["trial"]: row for row in csv.DictReader(file)}

    def children(self) -> list[int]:
        """Processes that this search has started and that live, zombies aside; Linux only."""
        return [pid for pid in _pids() if _has_mark(pid, f"{MARK}={self.mark}".encode())]


def wait_for(
    happened: Callable[[], Any],
    what: str,
    *,
    while_: Callable[[], bool] = lambda: True,
    told: Callable[[], str] = lambda: "",
) -> None:
    """Return once `happened()` is true; TimeoutError when it is not for long, or cannot be."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if not while_() and not happened():
            raise TimeoutError(f"the search ended before: {what}\n{told()}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"never happened: {what}\n{told()}")
        time.sleep(0.02)


def losses(run: Run, before: list[TrialRecord], *, faults: int) -> list[str]:
    """Every promise that a run that is over has broken, in words; none is the aim.

    `before` is what was over before the faults, of which there were so many. An epoch may be
    trained once more for each fault that could cut it off.
    """
    records, rows = run.records(), run.rows()
    found = [f"trial {r.trial} is {r.state.value}" for r in records if not r.state.is_over]
    if [r.trial for r in records] != [trial_id(n) for n in range(run.trials)]:
        found.append(f"{len(records)} trials in place of {run.trials}")
    points = Counter(json.dumps(r.params, sort_keys=True) for r in records)
    found += [f"tried {count} times: {point}" for point, count in points.items() if count > 1]
    after = {r.trial: r for r in records}
    found += [f"trial {r.trial} changed after it was over" for r in before if after[r.trial] != r]
    found += [fault for r in records for fault in _in_leaderboard(r, rows.pop(r.trial, None))]
    found += [f"trial {trial} is in the leaderboard alone" for trial in rows]
    for record in records:
        found += _in_folder(run, record, faults)
    return found


def over(run: Run) -> list[TrialRecord]:
    """The trials that are over now and will not change; none before there is a study."""
    database = run.folder / "study.db"
    # Optuna would make what is not there yet, under the hands of the search. Not "ro": who opens
    # the database after a kill takes back the transaction that was cut, and needs to write for it.
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as connection:
            begun = connection.execute("SELECT 1 FROM studies").fetchone()
    except sqlite3.OperationalError:
        begun = None
    return [r for r in run.records() if r.state.is_over] if begun else []


def _in_leaderboard(record: TrialRecord, row: dict[str, str] | None) -> list[str]:
    if row is None:
        return [f"trial {record.trial} is not in the leaderboard"]
    hmean = "" if record.hmean is None else repr(record.hmean)
    own = {
        "state": record.state.value,
        "epochs": str(record.epochs),
        "hmean": hmean,
        "reason": record.reason or "",
    }
    wrong = {k: (v, row[k]) for k, v in own.items() if k in row and row[k] != v}
    return [f"trial {record.trial}: study and leaderboard differ: {wrong}"] if wrong else []


def _in_folder(run: Run, record: TrialRecord, faults: int) -> list[str]:
    """What a trial's own account says against it."""
    (folder,) = run.folder.glob(f"trials/{record.trial}*")
    if not (folder / ACCOUNT).exists():
        return [] if record.state is TrialState.FAILED else [f"trial {record.trial} never began"]
    lines = [line.split() for line in (folder / ACCOUNT).read_text().splitlines()]
    trained = Counter(int(words[1]) for words in lines if words[0] == "epoch")
    found = [
        f"trial {record.trial}: epoch {epoch} was trained {count} times"
        for epoch, count in trained.items()
        if count > 1 + faults
    ]
    if record.state is TrialState.FAILED or run.kind == "detector":
        return found
    starts = [int(words[1]) for words in lines if words[0] == "start"]
    if starts != sorted(starts):
        found.append(f"trial {record.trial} began again before its last epoch: {starts}")
    state = json.loads((folder / STATE).read_text())
    # The epoch in which a fault fell may be trained and never reported, and its trial then stopped.
    unreported = faults > 0 and record.state is TrialState.STOPPED
    epochs = {record.epochs, record.epochs + unreported}
    if state["epoch"] not in epochs:
        found.append(f"trial {record.trial} has epoch {state['epoch']}, not {record.epochs}")
    if state["chain"] != chain_of(int(record.trial), state["epoch"]):
        found.append(f"trial {record.trial} has other weights than without a fault")
    return found


def _pids() -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def _has_mark(pid: int, mark: bytes) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False
