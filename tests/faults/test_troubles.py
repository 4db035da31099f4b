"""Trials, disks and databases that fail: the reason is recorded and nothing finished is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_runs import Run, losses, over

pytestmark = pytest.mark.faults

TROUBLES = {
    "0/2": ("exception", "ValueError: the data is not as it should be"),
    "1/2": ("nan_loss", "the loss is not finite at step 3; try a smaller optimizer.lr"),
    "2/2": ("nan_score", "epoch 2: best_hmean is nan, not a finite number"),
    "3/2": ("out_of_memory", "out of memory: CUDA out of memory"),
    "4/2": ("hang", "it reported no epoch for budget.hang_minutes=0.25; its worker ended"),
    "5/2": ("stopped", "it reported no epoch for budget.hang_minutes=0.25; its worker ended"),
    "6/2": ("killed", ""),
}


def test_each_trouble_of_a_trial_is_in_the_leaderboard_and_the_search_goes_on(start_run):
    troubles = {when: kind for when, (kind, _) in TROUBLES.items()}
    run = start_run(trials=8, troubles=troubles, arguments=("budget.hang_minutes=0.25",))
    assert run.completed() == 0, run.said()
    assert losses(run, [], faults=1) == []
    rows = run.rows()
    for when, (kind, reason) in TROUBLES.items():
        row = rows[f"{int(when.partition('/')[0]):05d}"]
        assert row["reason"].startswith(reason), kind
        assert (row["state"] == "failed") == bool(reason), kind
        assert row["epochs"] == "1" or not reason  # what was reported before is kept
    assert rows["00007"]["state"] in ("finished", "stopped")


def said_how_to_go_on(run: Run, reason: str) -> None:
    """One message with the reason and the command, and no traceback."""
    said = run.said()
    assert reason in said
    assert "continue with:\n  python -m orchestrator.search space=space.yaml name=run" in said
    assert "Traceback" not in said


def test_a_locked_and_a_broken_database_stop_the_search_with_one_message(start_run):
    run = start_run(seconds=0.3, lock_timeout_s=1.0)
    run.start().until((run.folder / "leaderboard.csv").exists, "a trial that is over or paused")
    before = over(run)
    database = run.folder / "study.db"
    with sqlite3.connect(database, timeout=60) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        assert run.wait() == 1
        lock.rollback()
    lock.close()
    said_how_to_go_on(run, "database is locked")

    copy = Path(shutil.copy(database, run.base / "copy.db"))
    board = (run.folder / "leaderboard.csv").read_bytes()
    database.write_bytes(b"not a database " * 500)
    assert run.completed(resume=True) == 2
    assert "error: storage: sqlite" in run.said()
    assert "cannot be used: " in run.said()
    assert "Traceback" not in run.said()
    assert (run.folder / "leaderboard.csv").read_bytes() == board
    shutil.copy(copy, database)
    assert run.completed(resume=True) == 0
    assert losses(run, before, faults=1) == []


def test_a_database_that_breaks_during_a_search_stops_it_and_leaves_the_leaderboard(start_run):
    run = start_run(seconds=0.3)
    run.start().until(lambda: len(over(run)) + run.epochs_trained() >= 9, "nine epochs")
    board = run.rows()
    with (run.folder / "study.db").open("r+b") as file:
        file.write(b"garbage " * 2000)
    assert run.wait() == 1
    said_how_to_go_on(run, "the study's database cannot be used")
    assert run.rows().keys() >= board.keys()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB in memory."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until there is no space; what is left is less than a page of memory."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_stops_the_search_and_nothing_finished_is_lost(start_run, small_disk):
    run = start_run(seconds=0.3, arguments=(f"runs_dir={small_disk}",))
    run.prepare()
    (run.base / "runs").symlink_to(small_disk)
    run.start().until(lambda: run.epochs_trained() >= 5, "five epochs")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        fill(filler)
    before = over(run)
    assert run.wait() == 1
    said = run.said()
    assert "Traceback" not in said
    assert "continue with:\n  python -m orchestrator.search space=space.yaml name=run" in said
    filler.unlink()
    assert run.completed(resume=True) == 0, run.said()
    assert losses(run, before, faults=1) == []


def test_a_validation_page_that_vanishes_fails_its_trial_with_its_name(start_run):
    run = start_run(kind="detector", trials=2, epochs=2, grace=2, troubles={"0/2": "vanished"})
    run.start("budget.concurrent=1")
    assert run.wait() in (0, 1)
    row = run.rows()["00000"]
    assert row["state"] == "failed"
    assert row["epochs"] == "1"
    assert "fewer than two pages with words could be read" in row["reason"]
    (log,) = run.folder.glob("trials/00000*/log.txt")
    assert "val_00000.jpg" in log.read_text()
    assert "Traceback" not in run.said()
