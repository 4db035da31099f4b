from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from orchestrator.events.kinds import Epoch, Note, Proposed, decision
from orchestrator.results.live import View
from orchestrator.trials.records import TrialRecord, TrialState


def record(trial: str, state: TrialState, hmean: float | None, **values: object) -> TrialRecord:
    return TrialRecord(trial, state, {"optimizer.lr": 0.0012345}, hmean, **values)  # type: ignore[arg-type]


EPOCH = Epoch(trial="00001", epoch=2, epochs=5, hmean=0.85, best_hmean=0.9, seconds=61.0)
WENT_WRONG = [
    decision(record("00002", TrialState.FAILED, None), "failed", "the loss is not finite"),
    decision(record("00003", TrialState.STOPPED, 0.1), "given_up", "hopeless: it says why"),
    decision(record("00004", TrialState.PENDING, 0.2), "again", "its worker was lost"),
]
LINES_OF_IT = [
    "trial 00002  failed  the loss is not finite",
    "trial 00003  stopped  H-mean 0.1000  hopeless: it says why",
    "trial 00004  its worker was lost; it continues after its last epoch",
]


def make_view(
    *, terminal: bool, clock: Callable[[], float] = time.monotonic
) -> tuple[View, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, height=30, color_system=None)
    return View(console, trials=3, epochs=5, parameters=["optimizer.lr"], clock=clock), out


def test_without_a_terminal_every_event_is_one_line():
    view, out = make_view(terminal=False)
    with view:
        view.show([record("00001", TrialState.RUNNING, 0.9, epochs=2, seconds=61.0)])
        view.tell(Proposed(trial="00001", params={}, why="sampler"))
        view.tell(EPOCH)
        view.tell(decision(record("00001", TrialState.PAUSED, 0.9), "paused", "rank 1 of 2"))
        view.tell(decision(record("00001", TrialState.PAUSED, 0.9), "promoted", "rank 1 of 3"))
        view.tell(decision(record("00001", TrialState.FINISHED, 0.9), "finished"))
        for event in WENT_WRONG:
            view.tell(event)
    assert out.getvalue().splitlines() == [
        "trial 00001  epoch 2/5  H-mean 0.8500  best 0.9000  61 s",
        "trial 00001  paused  H-mean 0.9000  rank 1 of 2",
        "trial 00001  promoted  rank 1 of 3",
        "trial 00001  finished  H-mean 0.9000",
        *LINES_OF_IT,
    ]


def test_beside_the_table_only_what_went_wrong_is_said():
    view, out = make_view(terminal=True)
    for event in (EPOCH, *WENT_WRONG, Note(text="waiting for 2 cores")):
        view.tell(event)
    assert out.getvalue().splitlines() == [*LINES_OF_IT, "waiting for 2 cores"]


def test_on_a_terminal_the_table_shows_state_scores_time_and_settings():
    view, out = make_view(terminal=True)
    view.show(
        [
            record("00000", TrialState.FINISHED, 0.95, epochs=5, seconds=125.0),
            record("00001", TrialState.RUNNING, 0.9, epochs=2, seconds=61.0),
        ]
    )
    view.tell(EPOCH)
    console = Console(file=out, width=100, color_system=None)
    console.print(view._render())
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "trial state epoch H-mean best time lr" in lines
    assert lines.index("00001 running 2/5 0.8500 0.9000 1m 01s 0.00123") < lines.index(
        "00000 finished 5/5 0.9500 2m 05s 0.00123"
    )
    assert lines[-1].startswith("1 of 3 trials over")
    assert "best H-mean 0.9500 (trial 00000)" in lines[-1]


def test_what_is_to_come_is_told_in_lines_and_in_the_table():
    running = record("00001", TrialState.RUNNING, 0.9, epochs=2, seconds=61.0)
    now = [0.0]
    view, out = make_view(terminal=False, clock=lambda: now[0])
    view.left({"00001": 125.0})
    now[0] = 59.0
    view.expect("about 1h 02m left")  # in the first minute: no line
    now[0] = 60.0
    view.expect("about 1h 01m left")
    view.tell(EPOCH)
    now[0] = 119.0
    view.expect("about 1h 00m left")  # within the next minute: no line
    assert out.getvalue().splitlines() == [
        "search: about 1h 01m left",
        "trial 00001  epoch 2/5  H-mean 0.8500  best 0.9000  61 s  2m 05s left",
    ]
    for at_its_rung in (0.0, 0.4):
        view.left({"00001": at_its_rung})
        view.tell(EPOCH)
        assert not out.getvalue().endswith("left\n")
    view, out = make_view(terminal=True)
    view.show([running, record("00000", TrialState.FINISHED, 0.8, epochs=5, seconds=9.0)])
    view.left({"00001": 125.0})
    view.expect("about 1h 00m left, next hour: +0.0012 expected")
    Console(file=out, width=100, color_system=None).print(view._render())
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "trial state epoch H-mean best time left lr" in lines
    assert "00001 running 2/5 0.9000 1m 01s 2m 05s 0.00123" in lines
    assert "00000 finished 5/5 0.8000 9s 0.00123" in lines
    assert lines[-1] == "about 1h 00m left, next hour: +0.0012 expected"


def test_a_paused_trial_is_neither_over_nor_running():
    paused = record("00001", TrialState.PAUSED, 0.9, epochs=2)
    view, out = make_view(terminal=True)
    view.show([paused, record("00000", TrialState.FINISHED, 0.8)])
    Console(file=out, width=100, color_system=None).print(view._render())
    assert "1 of 3 trials over, 1 paused, 0s, best H-mean 0.9000 (trial 00001)" in out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_of_the_table_is_wider_than_the_terminal_nor_the_table_higher(width: int):
    settings = {"model.backbone": "tf_efficientnet_lite0", "optimizer.lr": 0.0012345}
    settings |= {f"loss.setting_{i}": i / 7 for i in range(10)}
    states = [TrialState.FINISHED, TrialState.STOPPED, TrialState.RUNNING, TrialState.PAUSED] * 10
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=20, color_system=None)
    view = View(console, trials=100, epochs=100, parameters=list(settings))
    view.show(
        [
            TrialRecord(f"{i:05d}", state, settings, 0.9, epochs=100, seconds=36000.0)
            for i, state in enumerate(states)
        ]
    )
    console.print(view._render())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 20
    assert all(ord(letter) < 128 for letter in out.getvalue())
    rows = [line for line in lines if line.startswith("000")]
    assert rows
    assert all("100/100" in line for line in rows)


def test_a_terminal_that_cannot_go_back_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    view, out = make_view(terminal=True)
    with view:
        view.tell(EPOCH)
    assert out.getvalue() == "trial 00001  epoch 2/5  H-mean 0.8500  best 0.9000  61 s\n"


def test_no_color_leaves_the_table_without_colours(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system="standard")
    view = View(console, trials=1, epochs=5, parameters=[])
    view.show([record("00001", TrialState.FAILED, 0.9)])
    console.print(view._render())
    assert "failed" in out.getvalue()
    assert "\x1b[3" not in out.getvalue()
