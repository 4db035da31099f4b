from __future__ import annotations

import pytest

from orchestrator.config.limits import LimitReachedError, Limits, Spending, Watch
from orchestrator.trials.job import TrialJob

SPENT = Spending(epochs=7, seconds=5 * 1800.0, since_best=2)


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
    assert limits.spent(SPENT, gpus=0.5) == reason


def test_a_watch_tells_at_its_next_check():
    now = [100.0]
    watch = Watch(Limits(minutes=1.5), lambda: pytest.fail("asked"), gpus=0, clock=lambda: now[0])
    now[0] = 189.9
    watch.look()
    watch.step()
    now[0] = 190.0
    with pytest.raises(LimitReachedError, match=r"budget\.minutes=1\.5 are over"):
        watch.step()
    watch = Watch(Limits(patience=2), lambda: SPENT, gpus=0)
    watch.step()
    watch.look()
    with pytest.raises(LimitReachedError, match="2 trials after the best one"):
        watch.step()


def test_limits_of_spending_keep_the_clock_and_forget_patience():
    now = [0.0]
    limits = Limits(minutes=2, patience=1, total_epochs=99)
    watch = Watch(limits, lambda: SPENT, gpus=0, clock=lambda: now[0])
    watch.look()
    with pytest.raises(LimitReachedError, match=r"budget.patience"):
        watch.step()
    now[0] = 60.0
    spending = watch.of_spending()
    spending.look()
    spending.step()
    now[0] = 120.0
    with pytest.raises(LimitReachedError, match=r"budget.minutes=2 are over"):
        spending.step()
    with pytest.raises(LimitReachedError, match=r"budget.patience"):
        watch.step()


@pytest.mark.parametrize("event", ["ended", "lost"])
def test_a_trial_that_failed_with_its_worker_counts_at_once(event: str, tmp_path):
    watch = Watch(Limits(patience=2), lambda: SPENT, gpus=0)
    getattr(watch, event)(TrialJob(0, tmp_path, {}))
    with pytest.raises(LimitReachedError, match="2 trials after the best one"):
        watch.step()
