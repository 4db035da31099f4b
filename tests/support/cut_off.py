"""A training of two epochs that notes where it begins, and is cut off or fails as it is told."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.execute.trial import TrialFunction


def noting_trial(key: str, *, failing: Any = None, interrupts: bool = False) -> TrialFunction:
    """It writes the epoch it begins after into `starts.txt` of its folder, a line each time.

    failing: the value of the setting `key` with which it raises. interrupts: asks its driver to
    stop after the first epoch that it does.
    """
    driver = os.getpid()

    def trial(job, report):
        import os
        import signal
        import time

        (job.folder / "checkpoint/best").mkdir(parents=True, exist_ok=True)
        done = job.folder / "epoch.txt"
        start = int(done.read_text()) if done.exists() else 0
        with (job.folder / "starts.txt").open("a") as file:
            print(start, file=file)
        if job.values[key] == failing:
            raise ValueError("these pages cannot be")
        for epoch in range(start + 1, 3):
            done.write_text(str(epoch))
            report({"epoch": epoch, "finished": epoch == 2, "best_hmean": 0.5, "seconds": 1.0})
            if interrupts and start == 0:
                os.kill(driver, signal.SIGINT)
                time.sleep(60)

    return trial
