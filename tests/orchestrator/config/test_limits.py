from __future__ import annotations

import pytest

from orchestrator.config.limits import LimitReachedError, Limits, Watch, trials_since_best
from orchestrator.trials.records import TrialRecord, TrialState


def record(number: int, hmean: float | None, *, epochs: int = 2, state=TrialState.FINISHED):
    return TrialRecord(f"{number:05d}", state, hmean=hmean, epochs=epochs, seconds=1800.0)


RECORDS = [
    record(0, 0.5),
    record(1, 0.9),
    record(2, 0.7, state=TrialState.STOPPED),
    record(3, None, epochs=0, state=TrialState.FAILED),
    record(4, 0.8, epochs=1, state=TrialState.RUNNING),
]


def test_trials_since_the_best_by_hand():
    assert trials_since_best(RECORDS) == 2  # the one that runs is not over
    assert trials_since_best([]) == 0
    assert trials_since_best([record(0, None, state=TrialState.FAILED)]) == 0
    assert trials_since_best([record(0, 0.9), record(1, 0.9)]) == 1  # as good is not better


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(), None),
        (Limits(total_epochs=8), None),
        (Limits(total_epochs=7), "budget.total_epochs=7 are trained"),
        (Limits(gpu_hours=1.3), None),  # 5 trials of half an hour on half a GPU: 1.25
        (Limits(gpu_hours=1.25), "budget.gpu_hours=1.25 are used"),
        (Limits(patience=3), None),
        (Limits(patience=2), "budget.patience: 2 trials after the best one were no better"),
    ],
)
def test_what_is_spent_by_hand(limits: Limits, reason: str | None):
    assert limits.spent(RECORDS, gpus=0.5) == reason


def test_a_watch_tells_at_its_next_check():
    now = [100.0]
    watch = Watch(Limits(minutes=1.5), lambda: pytest.fail("asked"), gpus=0, clock=lambda: now[0])
    now[0] = 189.9
    watch.reported()
    watch.check()
    now[0] = 190.0
    with pytest.raises(LimitReachedError, match=r"budget\.minutes=1\.5 are over"):
        watch.check()
    watch = Watch(Limits(patience=2), lambda: RECORDS, gpus=0)
    watch.check()
    watch.reported()
    with pytest.raises(LimitReachedError, match="2 trials after the best one"):
        watch.check()


def test_limits_of_spending_keep_the_clock_and_forget_patience():
    now = [0.0]
    limits = Limits(minutes=2, patience=1, total_epochs=99)
    watch = Watch(limits, lambda: RECORDS, gpus=0, clock=lambda: now[0])
    watch.reported()
    with pytest.raises(LimitReachedError, match=r"budget.patience"):
        watch.check()
    now[0] = 60.0
    spending = watch.of_spending()
    spending.reported()
    spending.check()
    now[0] = 120.0
    with pytest.raises(LimitReachedError, match=r"budget.minutes=2 are over"):
        spending.check()
    with pytest.raises(LimitReachedError, match=r"budget.patience"):
        watch.check()
