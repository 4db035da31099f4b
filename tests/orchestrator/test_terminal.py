"""What a real search prints, line for line: nothing from Ray, torch or Optuna."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

SEARCH = [sys.executable, "-m", "orchestrator.search", "space=smoke", "name=first"]
STARTING = "starting Ray, which takes a few seconds"
ON_STDERR = [
    r"no GPU: trials train on the CPU, with the space's choices for it",
    r"no data\.root: trials train on synthetic receipts; .*",
    r".*synthetic-receipts-8-2: 8 training and 2 validation receipts",
    r"train: 8 of 794 words are not for training: 2 under targets\.min_side_px=3 px .*",
    r"cost: 2 trials x 2 epochs x 2 steps, .*",
    STARTING,
    r"runs/first: 2 trials of up to 2 epochs; .*",
]
EVENTS = [
    *[r"trial 0000\d  epoch [12]/2  H-mean \d\.\d{4}  best \d\.\d{4}  \d+ s(  \d+s left)?"] * 3,
    *[r"trial 0000\d  paused  H-mean \d\.\d{4}  rank \d of \d at rung 1"] * 2,
    r"trial 0000\d  promoted  rank 1 of 2 at rung 1(; no trial has finished)?",
    r"trial 0000\d  finished  H-mean \d\.\d{4}",
    r"trial 0000\d  stopped  H-mean \d\.\d{4}  rank 2 of 2 at rung 1; the search is over",
]
NOISE = re.compile(
    r"\b(ray|raylet|tune|torch|optuna|pid|info|warn\w*|deprecat\w*|traceback|https?)\b",
    re.IGNORECASE,
)
BELOW = r"(leaderboard|curves|report|nothing was learnt:|- |  python -m detector\.inspect ).*"
pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("terminal")


@pytest.fixture(scope="module")
def piped(folder: Path) -> subprocess.CompletedProcess[str]:
    """The smoke search without a terminal, where only ASCII can be printed."""
    own = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "COLUMNS")}
    return subprocess.run(
        [*SEARCH, "resources.gpus_per_trial=0"],
        cwd=folder,
        env=environment | own,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_piped_search_says_its_own_lines_and_no_others(piped):
    assert piped.returncode == 0, piped.stderr
    said = piped.stderr.splitlines()
    assert len(said) == len(ON_STDERR), piped.stderr
    assert all(re.fullmatch(rule, line) for rule, line in zip(ON_STDERR, said, strict=True))
    lines = [line.rstrip() for line in piped.stdout.splitlines()]
    events = [line for line in lines if line.startswith("trial 0")]
    assert lines[: len(events)] == events
    for rule in set(EVENTS):
        assert sum(bool(re.fullmatch(rule, line)) for line in events) == EVENTS.count(rule)
    assert len(events) == len(EVENTS)
    rest = lines[len(events) :]
    end = next(i for i, line in enumerate(rest) if line.startswith("leaderboard"))
    table, below = [s for s in rest[:end] if s], [s for s in rest[end:] if s]
    assert sum(bool(re.search(r"\b0000\d[ |]+(finished|stopped)\b", line)) for line in table) == 2
    assert len(table) <= 6, "two rows below a head of three lines and a rule"
    assert all(re.fullmatch(BELOW, line) for line in below)
    assert piped.stdout.isascii()


def in_a_terminal(command: list[str], folder: Path, *, columns: int, lines: int) -> str:
    """What a command writes to a terminal of this size."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    unset = ("RAY_ADDRESS", "COLUMNS", "LINES", "NO_COLOR")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | {"TERM": "xterm"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=writer, stdout=writer, stderr=writer
    )
    os.close(writer)
    text = b""
    while True:
        try:
            piece = os.read(reader, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(reader)
    assert process.wait() == 0, text.decode()
    return text.decode()


@pytest.mark.usefixtures("piped")
def test_on_a_terminal_a_table_is_updated_and_the_summary_fits_the_screen(folder: Path):
    more = ["resume=true", "budget.trials=+1", "resources.gpus_per_trial=0"]
    text = in_a_terminal([*SEARCH, *more], folder, columns=80, lines=24)
    assert text.count("\x1b[2K") > 10, "lines are cleared to be written again"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n").replace("\r", "\n")
    others = [line for line in plain.split("\n") if line.rstrip() != STARTING]
    assert [line for line in others if NOISE.search(line)] == []
    assert STARTING in plain
    # After the table is cleared away for good, the rest is the summary.
    last = plain.rsplit("trials over", 1)[1].split("\n")
    start = next(i for i, line in enumerate(last) if re.match(r" ?#|.*  trial  state", line))
    summary = "\n".join(last[start - 1 :]).rstrip().split("\n")
    assert sum(max(1, -(-len(line.rstrip()) // 80)) for line in summary) <= 23
