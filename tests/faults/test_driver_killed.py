"""The driver killed with SIGKILL in the middle of a search, and the search resumed."""

from __future__ import annotations

import random

import pytest
from chaos_runs import losses, over

pytestmark = pytest.mark.faults


def test_after_any_kills_of_the_driver_each_configuration_is_finished_once(start_run):
    run = start_run(trials=8, seconds=0.1)
    kills = 3
    for _ in range(kills):
        done = run.epochs_trained()
        more = random.randint(1, 6)  # any moment must do; of 16 epochs at least
        before = over(run)
        run.start(resume=run.folder.exists())
        run.until(lambda: run.epochs_trained() >= done + more, f"{more} epochs")  # noqa: B023
        run.kill()
    assert run.completed(resume=True) == 0
    assert losses(run, before, faults=kills) == []
    assert {r.state.value for r in run.records()} <= {"finished", "stopped"}
