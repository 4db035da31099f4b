"""The small additions that CONTRIBUTING.md shows are made in a copy of the packages and used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from doc_markdown import ROOT, split_fences
from house import ORCHESTRATOR, House, upward
from house_picture import drawn

TITLE = "## Three small additions"
PACKAGES = ("detector", "orchestrator", "search_spaces")
# What makes use of each in the copy, and what it prints.
USES = {
    "A tracker": (
        """
        from pathlib import Path
        from orchestrator.run.command_line import parse_arguments
        from orchestrator.run.run import Run
        from orchestrator.run.study import open_study
        from orchestrator.space.search_space import load_space
        from orchestrator.track.trackers import tracking
        from orchestrator.trials.job import TrialJob

        config, _ = parse_arguments(["space=smoke", "track=csvfile"])
        study = open_study("sqlite:///study.db", "first", resume=False)
        run = Run(Path.cwd(), config, load_space("smoke", gpu=False), study)
        for epochs in ((1, 2), (2, 3)):  # the second session tells of one again
            with tracking(run, print) as (told,):
                for epoch in epochs:
                    report = {"epoch": epoch, "hmean": 0.5, "best_hmean": 0.25 * epoch}
                    told.reported(TrialJob(7, run.folder, {}), report)
        print(Path("epochs.csv").read_text(), end="")
        """,
        "00007,1,0.2500\n00007,2,0.5000\n00007,3,0.7500\n",
    ),
    "An objective": (
        """
        import csv
        from pathlib import Path
        from orchestrator.results.leaderboard import write_leaderboard
        from orchestrator.run.command_line import parse_arguments
        from orchestrator.trials.pareto import value_of
        from orchestrator.trials.records import TrialRecord, TrialState

        wanted = "search.objectives=[hmean,seconds_an_epoch]"
        config, _ = parse_arguments(["space=smoke", wanted])
        over = TrialState.FINISHED
        slow = TrialRecord("00000", over, hmean=0.75, epochs=4, seconds=10.0)
        quick = TrialRecord("00001", over, hmean=0.5, epochs=4, seconds=6.0)
        worse = TrialRecord("00002", over, hmean=0.25, epochs=1, seconds=6.0)
        write_leaderboard(Path.cwd(), [slow, quick, worse], (), config.search.trade_off())
        for row in csv.DictReader(Path("leaderboard.csv").open()):
            print(row["trial"], row["seconds_an_epoch"], row["pareto"])
        print(value_of(TrialRecord("00003", TrialState.RUNNING), "seconds_an_epoch"))
        """,
        "00000 2.5 True\n00001 1.5 True\n00002 6.0 False\nNone\n",
    ),
    "A check before Ray starts": (
        """
        from detector.core.errors import InputError
        from orchestrator.place.preflight import require_ready

        for value in ("4", "2,1", "all"):
            try:
                require_ready({"OMP_NUM_THREADS": value})
            except InputError as error:
                print(error)
        """,
        "OMP_NUM_THREADS: must be a whole number from 1, got 'all'; set it so, or unset it\n",
    ),
}


def sections() -> dict[str, str]:
    """The text below each heading of the additions."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    part = text.partition(f"\n{TITLE}\n")[2].partition("\n## ")[0]
    return dict(section.split("\n", 1) for section in part.split("\n### ")[1:])


def blocks(section: str) -> tuple[str, str, str, list[str]]:
    """The new file's path and text, the changed one's path and the lines of its change."""
    new, change = split_fences(section)[1]
    assert (new.language, change.language) == ("python", "diff")
    assert new.lines[0].startswith("# ")
    assert change.lines[0].startswith("--- ")
    text = "\n".join(new.lines[1:]) + "\n"
    return new.lines[0][2:], text, change.lines[0][4:], list(change.lines[1:])


def changed(text: str, change: list[str]) -> str:
    """`text` with each hunk of a change, which must fit one place."""
    for hunk in "\n".join(change).split("\n@@\n"):
        lines = hunk.split("\n")
        old = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
        new = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"CONTRIBUTING.md is old: not in the file once:\n{old}"
        text = text.replace(old, new)
    return text


def test_every_addition_is_used():
    assert list(sections()) == list(USES)


@pytest.mark.parametrize("kind", USES)
def test_an_addition_is_one_file_and_one_line(kind):
    path, _, place, change = blocks(sections()[kind])
    assert not (ROOT / path).exists()
    assert (ROOT / place).is_file()
    assert sum(line.startswith("+") for line in change) == 1


@pytest.fixture
def added(request, tmp_path) -> Path:
    """A folder with the packages and an addition in them."""
    for name in PACKAGES:
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    path, text, place, change = blocks(sections()[request.param])
    (tmp_path / path).write_text(text, encoding="utf-8")
    file = tmp_path / place
    file.write_text(changed(file.read_text(encoding="utf-8"), change), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("added", USES, indirect=True)
def test_an_addition_obeys_the_rules_of_the_house(added):
    house = House(added / "orchestrator", ORCHESTRATOR.floors)
    assert upward(house) == []
    assert drawn(house) == drawn(ORCHESTRATOR)
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(ROOT / "pyproject.toml"), "orchestrator"]
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, *config], cwd=added, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("added", "kind"), zip(USES, USES, strict=True), indirect=["added"])
def test_an_addition_works(added, kind, tmp_path):
    code, expected = USES[kind]
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(added)}
    lines = ["import orchestrator", f"assert orchestrator.__file__.startswith({str(added)!r})"]
    script = "\n".join([*lines, textwrap.dedent(code)])
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout == expected
