"""Ctrl-C, SIGTERM, a closed terminal and the second Ctrl-C, on the search command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos_runs import Run, losses, over, wait_for

pytestmark = pytest.mark.faults

COMMAND = "python -m orchestrator.search space=space.yaml name=run resume=true"
CONTINUE = f"interrupted; every finished epoch is saved. Continue with:\n  {COMMAND}"


def interrupted(run: Run, number: signal.Signals) -> None:
    """The search ends on one signal, with all that it knows in the leaderboard."""
    run.kill(number)
    assert run.wait() == 130
    said = run.said()
    assert said.count(CONTINUE) == 1
    assert "Traceback" not in said
    assert "SIGTERM received" not in said  # Ray's own last words
    rows = run.rows()
    assert {r.trial: str(r.epochs) for r in run.records()} == {
        trial: row["epochs"] for trial, row in rows.items()
    }


def test_sigterm_saves_the_state_and_a_second_ctrl_c_leaves_at_once(start_run):
    run = start_run(seconds=0.3)
    run.start().until(lambda: run.epochs_trained() >= 3, "three epochs")
    interrupted(run, signal.SIGTERM)
    before = over(run)

    run.start(resume=True).until(lambda: run.epochs_trained() >= 6, "six epochs")
    run.kill(signal.SIGINT)
    time.sleep(0.6)  # a signal sent to a process and to its group is one wish
    run.kill(signal.SIGINT)
    assert run.wait() == 130
    assert CONTINUE in run.said()
    wait_for(lambda: not run.children(), "the end of Ray's processes")

    assert run.completed(resume=True) == 0
    assert losses(run, before, faults=2) == []


def test_sigterm_while_ray_starts_leaves_nothing_behind(start_run):
    """Ray's processes are there, and the driver is not connected to them yet."""
    run = start_run(trials=2)
    run.start().until(lambda: len(run.children()) > 1, "Ray's first process")
    interrupted(run, signal.SIGTERM)
    wait_for(lambda: not run.children(), "the end of Ray's processes")


STUBBORN = """
import signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # a shell's background ignores some of them
from orchestrator.place.interruption import Interruption
with Interruption("how to go on"):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("saving", flush=True)
        time.sleep(60)  # what the first signal began takes long
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_signal_does_not_wait_for_what_the_first_began(number):
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(number)  # the same wish, from `timeout` for example: it goes on saving
    time.sleep(0.6)
    assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "\nhow to go on\n")


def test_a_closed_terminal_is_a_wish_to_stop_and_nohup_is_not():
    code = (
        "import os, signal, sys\n"
        "from orchestrator.place.interruption import Interruption\n"
        "try:\n"
        "    with Interruption():\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "        sys.exit(0)\n"
        "except KeyboardInterrupt:\n"
        "    print('a word to nobody')\n"
        "    sys.exit(130)\n"
    )
    root = Path(__file__).parents[2]
    for before, expected in ((signal.SIG_DFL, 130), (signal.SIG_IGN, 0)):
        set_first = f"import signal; signal.signal(signal.SIGHUP, signal.{before.name})\n"
        main, terminal = os.openpty()
        done = subprocess.Popen([sys.executable, "-c", set_first + code], cwd=root, stdout=terminal)
        os.close(terminal)
        os.close(main)  # a write to it now would be an error
        assert done.wait(timeout=60) == expected
