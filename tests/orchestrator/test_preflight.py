"""The command, in a process of its own on a Ray of its own, and on the tests' Ray."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from detector.core.errors import InputError
from orchestrator.preflight import main


@pytest.fixture
def data(make_dataset: Callable[..., Path], tmp_path: Path) -> Path:
    root = make_dataset(tmp_path / "data", split="train", pages=2)
    make_dataset(root, split="val", pages=2, seed=1)
    return root


def test_a_machine_that_is_ready_is_told_in_a_table(data: Path, tmp_path: Path):
    words = ["space=dbnetpp", f"data.root={data}", f"runs_dir={tmp_path / 'runs'}"]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.preflight", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    head, line = (row.split() for row in done.stdout.splitlines())
    assert head[:4] == ["machine", "Python", "Ray", "torch"]
    assert line[1] == sys.version.split()[0]
    assert line[-1] == str(sum(path.is_file() for path in data.rglob("*")))
    assert "ready: a search with these arguments can start" in done.stderr
    assert [*(tmp_path / "runs").iterdir()] == []  # nothing was begun


@pytest.mark.usefixtures("ray_cluster")
def test_a_gpu_that_is_there_on_paper_only_is_a_fault(data: Path, tmp_path: Path):
    words = ["space=dbnetpp", f"data.root={data}", f"runs_dir={tmp_path / 'runs'}"]
    with pytest.raises(InputError, match=r"Ray was told of 1 GPUs, and torch sees 0"):
        main(words)


def test_wrong_data_and_settings_are_told_as_a_search_would(tmp_path: Path):
    with pytest.raises(InputError, match=r"data\.root|there is no"):
        main(["space=dbnetpp", f"data.root={tmp_path / 'none'}", f"runs_dir={tmp_path}"])
    with pytest.raises(InputError, match=r"spce"):
        main(["spce=dbnetpp"])
