"""What people read of events."""

from __future__ import annotations

import pytest

from orchestrator.events.kinds import Best, Confirmation, Epoch, Limit, Note, decision
from orchestrator.events.lines import line_of, must_be_read
from orchestrator.trials.records import TrialRecord, TrialState

PAUSED = TrialRecord(trial="00003", state=TrialState.PAUSED, hmean=0.98765, params={}, epochs=2)
PENDING = TrialRecord(trial="00004", state=TrialState.PENDING, params={}, epochs=0)


def confirmation(hmean: float | None, reason: str | None = None) -> Confirmation:
    return Confirmation(
        trial="00003", seed=7, hmean=hmean, first_hmean=0.5, reason=reason, record=PAUSED.to_dict()
    )


@pytest.mark.parametrize(
    ("event", "line", "always"),
    [
        (
            Epoch(trial="00003", epoch=2, epochs=6, hmean=0.9, best_hmean=0.95, seconds=12.4),
            "trial 00003  epoch 2/6  H-mean 0.9000  best 0.9500  12 s",
            False,
        ),
        (
            decision(PAUSED, "paused", "rank 2 of 3 at rung 1"),
            "trial 00003  paused  H-mean 0.9877  rank 2 of 3 at rung 1",
            False,
        ),
        (decision(PAUSED, "promoted", "rank 1 of 3"), "trial 00003  promoted  rank 1 of 3", False),
        (
            decision(PAUSED, "given_up", "hopeless"),
            "trial 00003  stopped  H-mean 0.9877  hopeless",
            True,
        ),
        (
            decision(PAUSED, "weights_deleted", "no room"),
            "trial 00003  weights deleted  H-mean 0.9877  no room",
            False,
        ),
        (decision(PENDING, "cut_off"), "trial 00004  cut off", False),
        (decision(PENDING, "failed", "MemoryError"), "trial 00004  failed  MemoryError", True),
        (
            decision(PENDING, "again", "its worker died"),
            "trial 00004  its worker died; it continues after its last epoch",
            True,
        ),
        (
            decision(PENDING, "failed", "its worker died", seed=7),
            "trial 00004 seed 7: its worker died",
            True,
        ),
        (confirmation(0.25), "trial 00003 seed 7: H-mean 0.2500 (first 0.5000)", True),
        (confirmation(None, "NaN"), "trial 00003 seed 7: failed: NaN (first 0.5000)", True),
        (Note(text="waiting for a GPU"), "waiting for a GPU", True),
        (Limit(reason="an hour is over"), None, False),
        (Best(trial="00003", epoch=2, hmean=0.9, before=None), None, False),
    ],
)
def test_an_event_is_one_line_or_none(event, line, always):
    assert line_of(event) == line
    assert must_be_read(event) == always
