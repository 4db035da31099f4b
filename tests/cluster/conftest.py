"""A search of seconds, as the launcher files start it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

TRIALS, EPOCHS = 3, 3


@pytest.fixture
def receipts(make_dataset: Callable[..., Path], tmp_path: Path) -> Path:
    root = make_dataset(tmp_path / "receipts", split="train", pages=4)
    return make_dataset(root, split="val", pages=2, seed=1)


@pytest.fixture
def search(tiny_settings: dict[str, Any], tmp_path: Path) -> str:
    """What a user puts into SEARCH: a space and, with other arguments, how large a trial is."""
    space = {
        "fixed": tiny_settings,
        "parameters": {"optimizer.lr": {"log_uniform": [5.0e-4, 4.0e-3]}},
        "budget": {
            **{"trials": TRIALS, "epochs": EPOCHS, "grace_epochs": EPOCHS},
            "reduction_factor": 2,
        },
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(space))
    return f"space={tmp_path}/tiny.yaml resources.gpus_per_trial=0 resources.cpus_per_trial=1"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start(command, cwd=..., log=..., **variables)`: in a session of its own, which ends.

    `python` is the one of the tests.
    """
    begun = []
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

    def run(
        command: str | list[str], *, cwd: Path, log: Path, **variables: str
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                shell=isinstance(command, str),
                cwd=cwd,
                env=os.environ | {"PATH": path} | variables,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        begun.append(process)
        return process

    yield run
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def states() -> Callable[[Path], list[str]]:
    """`states(run)`: the state of each trial of a run that is over."""

    def read(run: Path) -> list[str]:
        with (run / "leaderboard.csv").open(encoding="utf-8") as file:
            return [row["state"] for row in csv.DictReader(file)]

    return read
