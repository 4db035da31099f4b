"""A run kept in a bucket: the store does not answer for a while, and the head is lost for good."""

from __future__ import annotations

import shutil
import time

import pytest
from chaos_runs import ACCOUNT, losses, over, wait_for

pytestmark = pytest.mark.faults


def test_nothing_is_lost_that_is_in_the_bucket(start_run, bucket_url, s3_store):
    run = start_run(trials=4, arguments=(f"bucket={bucket_url}",), seconds=0.2)
    run.start().until(lambda: run.epochs_trained() >= 2, "two epochs")
    s3_store.stop()
    time.sleep(3)
    s3_store.start()
    done = run.epochs_trained()
    run.until(lambda: run.epochs_trained() > done, "an epoch after the store was away")
    before = over(run)
    run.kill()
    wait_for(lambda: not run.children(), "the end of Ray's processes")
    shutil.rmtree(run.base / "runs")  # the disk of the head

    assert run.completed(resume=True) == 0, run.said()
    assert losses(run, before, faults=2) == []
    assert {r.state.value for r in run.records()} <= {"finished", "stopped"}
    accounts = [path.read_text() for path in run.folder.glob(f"trials/*/{ACCOUNT}")]
    assert all(text.split("\n").count("epoch 1") == 1 for text in accounts)
