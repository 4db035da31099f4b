"""Searches whose machines share nothing but a bucket, which a server that speaks S3 holds."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detector.config.cli import build
from detector.core.errors import InputError, JobError
from orchestrator import report, search
from orchestrator.config.settings import SearchConfig
from orchestrator.run.bucket_run import BucketRun, is_begun
from orchestrator.run.endings import again
from orchestrator.run.run import stored_run
from orchestrator.run.run_folder import stored_search
from orchestrator.store.bucket import Bucket, BucketError
from orchestrator.store.mirror import Mirror

SPACE = """\
description: a space for tests
parameters:
  loss.negative_ratio: {choice: [1.0, 2.0, 3.0, 4.0]}
budget: {trials: 4, epochs: 2, grace_epochs: 1, reduction_factor: 2}
"""
ARGUMENTS = ("space=tiny.yaml", "name=first", "resources.gpus_per_trial=0")


def counted(seconds=0.0):
    """Two epochs, which go on from the state in the trial's folder."""

    def trial(job, report):
        checkpoint = job.folder / "checkpoint"
        (checkpoint / "best").mkdir(parents=True, exist_ok=True)
        last = checkpoint / "last.safetensors"
        done = int(last.read_text()) if last.exists() else 0
        with (job.folder / "log.txt").open("a") as log:
            print(f"begins after {done}", file=log)
        until = job.until or 2
        for epoch in range(min(done + 1, until), until + 1):  # again, if its report was lost
            time.sleep(seconds)
            last.write_text(str(epoch))
            (checkpoint / "best" / "model.safetensors").write_text(f"{job.number} at {epoch}")
            (checkpoint / "best" / "config.yaml").write_text("model: {}\n")
            hmean = job.params["loss.negative_ratio"] / 10 + epoch / 100
            report(
                {
                    **{"epoch": epoch, "finished": epoch == 2, "best_epoch": float(epoch)},
                    **{"hmean": hmean, "best_hmean": hmean, "seconds": 2.0 * epoch},
                    "checkpoint": f"trials/{job.folder.name}/checkpoint/best",
                    "page_hmeans": {"a.jpg": hmean, "b.jpg": hmean},
                }
            )

    return trial


@pytest.fixture
def folder(tmp_path, monkeypatch, blank_pages, ray_cluster) -> Path:
    """A working folder with a space and pages; no cluster but the tests' own is joined."""
    assert ray_cluster
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)
    blank_pages(tmp_path / "data", train=["page.jpg"], val=["page.jpg", "other.jpg"])
    return tmp_path


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "runs/first/leaderboard.csv").open() as file:
        return {row["trial"]: row for row in csv.DictReader(file)}


def test_a_search_without_a_shared_folder(folder, bucket_url):
    data = f"data.root={Bucket(bucket_url).below('receipts').url}"
    Mirror(folder / "data", Bucket(bucket_url).below("receipts")).push()
    more = (f"bucket={bucket_url}", data)
    assert search.main([*ARGUMENTS, *more], trial=counted()) == 0
    before = rows(folder)
    states = sorted(row["state"] for row in before.values())
    assert states.count("finished") >= 1
    assert len(states) == 4

    # The run folder has what people read, and no state of a training.
    run = folder / "runs" / "first"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    trials = {name.split("/")[1] for name in names if name.startswith("trials/")}
    assert len(trials) == 4
    assert all(f"trials/{t}/log.txt" in names for t in trials)
    assert all(f"trials/{t}/checkpoint/best/model.safetensors" in names for t in trials)
    assert not [name for name in names if name.endswith("last.safetensors")]
    assert (run / "best/model.safetensors").read_text().endswith(" at 2")

    # The bucket has all of it, and the states of those that could go on, finished ones.
    there = Bucket(bucket_url).below("first").files()
    hidden = {".lock", ".bucket.json", ".head"}
    assert names - hidden <= there.keys()
    state = "trials/{}/checkpoint/last.safetensors"
    stopped = [t for t in trials if state.format(t) not in there]
    assert len(stopped) == states.count("stopped")


@pytest.mark.slow
def test_a_search_goes_on_where_its_head_was_lost_with_its_disk(
    folder, bucket_url, wait_for, monkeypatch
):
    more = (f"bucket={bucket_url}", "data.root=data")
    environment = os.environ | {"RAY_ADDRESS": "local"}
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import test_bucket_run as t\n"
        "from orchestrator import search\n"
        "sys.exit(search.main(sys.argv[1:], trial=t.counted(1.0)))"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", code, here, *ARGUMENTS, *more], cwd=folder, env=environment
    )
    run = Bucket(bucket_url).below("first")
    wait_for(
        lambda: sum(name.endswith("log.txt") for name in run.files()) >= 3,
        "three trials in the bucket",
        while_=lambda: process.poll() is None,
    )
    process.kill()
    process.wait()
    time.sleep(5)  # the workers of a driver that is gone end by themselves
    shutil.rmtree(folder / "runs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache2"))
    command = [*ARGUMENTS, f"bucket={bucket_url}", "resume=true"]
    assert search.main(command, trial=counted()) == 0
    assert len(rows(folder)) == 4
    assert {row["state"] for row in rows(folder).values()} <= {"finished", "stopped"}
    for path in folder.glob("runs/first/trials/*/log.txt"):
        assert path.read_text().count("begins after 0") == 1, path


@pytest.mark.slow
def test_a_folder_that_another_machine_has_gone_on_from_is_not_used(folder, bucket_url):
    more = (f"bucket={bucket_url}", "data.root=data", "budget.trials=2")
    assert search.main([*ARGUMENTS, *more], trial=counted()) == 0
    (folder / "runs").rename(folder / "old")
    command = [*ARGUMENTS, f"bucket={bucket_url}", "resume=true", "budget.trials=3"]
    assert search.main(command, trial=counted()) == 0
    newest = Bucket(bucket_url).below("first").files()
    (folder / "runs").rename(folder / "new")

    (folder / "old").rename(folder / "runs")
    with pytest.raises(JobError, match="another folder or machine has gone on with this run"):
        search.main(command, trial=counted())
    assert Bucket(bucket_url).below("first").files() == newest
    assert len(rows(folder)) == 2

    (folder / "runs").rename(folder / "old")
    assert search.main([*command[:-1], "budget.trials=4"], trial=counted()) == 0
    assert len(rows(folder)) == 4


def test_a_run_that_was_cut_off_before_the_bucket_had_it_goes_on_from_its_folder(
    bucket_url, tmp_path
):
    run = BucketRun(tmp_path / "first", Bucket(bucket_url).below("first"))
    with pytest.raises(InputError, match="there is no run to resume"):
        run.restore()
    assert list(tmp_path.iterdir()) == []
    run.folder.mkdir()
    (run.folder / "config.yaml").write_text("space: tiny\n")
    run.restore()
    run.take_over()
    run.put_all()
    assert {"config.yaml", ".head"} <= run.bucket.files().keys()


@pytest.mark.slow
def test_a_run_that_could_not_be_taken_over_is_not_marked_as_taken(folder, s3_store):
    made = folder / "runs/r"
    made.mkdir(parents=True)
    run = BucketRun(made, Bucket(s3_store.address("no-such-bucket", "key"), waits=()))
    with pytest.raises(BucketError):
        run.take_over()
    assert list(made.iterdir()) == []


def test_a_run_is_taken_over_only_when_everything_is_checked(folder, bucket_url):
    more = (f"bucket={bucket_url}", "data.root=data", "budget.trials=2")
    assert search.main([*ARGUMENTS, *more], trial=counted()) == 0
    head = Bucket(bucket_url).below("first").text(".head")
    command = [*ARGUMENTS, f"bucket={bucket_url}", "resume=true"]
    (folder / "runs").rename(folder / "first_machine")

    with pytest.raises(InputError, match="a resumed run keeps its settings"):
        search.main([*command, "seed=5"], trial=counted())
    with pytest.raises(InputError, match=r"name: there is no run to resume at s3://.*/frist"):
        search.main([a.replace("first", "frist") for a in command], trial=counted())
    assert Bucket(bucket_url).below("first").text(".head") == head
    assert Bucket(bucket_url).below("frist").files() == {}
    assert not (folder / "runs/frist").exists()

    # The first machine goes on, and the other one's copy, which is old now, is made anew.
    (folder / "runs").rename(folder / "second_machine")
    (folder / "first_machine").rename(folder / "runs")
    assert search.main([*command, "budget.trials=3"], trial=counted()) == 0
    (folder / "runs").rename(folder / "first_machine")
    (folder / "second_machine").rename(folder / "runs")
    assert search.main([*command, "budget.trials=4"], trial=counted()) == 0
    assert len(rows(folder)) == 4
    assert Bucket(bucket_url).below("first").text(".head") != head


def test_a_search_ends_when_another_takes_its_run(folder, bucket_url):
    more = (f"bucket={bucket_url}", "data.root=data")
    head, train = Bucket(bucket_url).below("first"), counted()

    def taken(job, report):
        if job.number == 1:
            (folder / "other").write_text("other")
            head.put(folder / "other", ".head")
        train(job, report)

    with pytest.raises(JobError, match=r"has gone on with this run; .*then continue with:"):
        search.main([*ARGUMENTS, *more], trial=taken)
    assert head.text(".head") == "other"


@pytest.mark.slow
def test_the_dataset_of_a_demo_reaches_the_machines_through_the_bucket(folder, bucket_url):
    more = (f"bucket={bucket_url}", "data.train_pages=2", "data.val_pages=2", "budget.trials=1")
    assert search.main([*ARGUMENTS, *more], trial=counted()) == 0
    pages = Bucket(bucket_url).below("synthetic-receipts-2-2").files("images")
    assert len(pages) == 4
    config = stored_search(folder / "runs" / "first")
    assert config.data_from == Bucket(bucket_url).below("synthetic-receipts-2-2").url
    assert f" 'bucket={bucket_url}' resume=true" in again(config, folder / "runs" / "first")


@pytest.mark.usefixtures("folder", "bucket_url")
def test_a_wrong_bucket_is_said_before_anything_is_started(s3_store):
    url = s3_store.address("no-such-bucket", "key")
    with pytest.raises(JobError, match="NO_SUCH_BUCKET"):
        search.main([*ARGUMENTS, f"bucket={url}", "data.root=data"], trial=counted())
    with pytest.raises(InputError, match=r"data\.root: nothing is at"):
        search.main([*ARGUMENTS, f"data.root={url}"], trial=counted())


@pytest.mark.slow
def test_the_report_command_reads_the_copy_and_a_new_run_leaves_it(folder, bucket_url):
    more = (f"bucket={bucket_url}", "data.root=data", "budget.trials=2")
    assert search.main([*ARGUMENTS, *more], trial=counted()) == 0
    (folder / "runs/first/leaderboard.csv").unlink()
    assert report.main(build(report.ReportSettings, {"run": "runs/first"})) == 0
    assert len(rows(folder)) == 2
    assert len(stored_run(folder / "runs/first").records()) == 2

    shutil.rmtree(folder / "runs")
    with pytest.raises(InputError, match=r"bucket: s3://.*first.* holds a run already; choose"):
        search.main([*ARGUMENTS, *more], trial=counted())


def test_one_command_begins_a_run_and_goes_on_with_it_wherever_it_is(folder, bucket_url):
    command = [*ARGUMENTS, f"bucket={bucket_url}", "data.root=data", "resume=auto"]
    for trials in (2, 3):
        assert search.main([*command, f"budget.trials={trials}"], trial=counted()) == 0
        assert len(rows(folder)) == trials
    shutil.rmtree(folder / "runs")
    assert search.main(command, trial=counted()) == 0
    assert len(rows(folder)) == 3


def test_a_run_of_which_the_bucket_has_no_settings_yet_was_never_begun(bucket_url, tmp_path):
    config = build(SearchConfig, {"space": "tiny", "name": "first", "bucket": bucket_url})
    run = BucketRun(tmp_path / "first", Bucket(bucket_url).below("first"))
    run.folder.mkdir()
    (run.folder / "space.yaml").write_text("description: cut off\n")
    run.take_over()
    run.put_all()
    elsewhere = BucketRun(tmp_path / "other" / "first", run.bucket)
    assert not is_begun(config, elsewhere.folder)
    elsewhere.require_new()

    (run.folder / "config.yaml").write_text("space: tiny\n")
    run.put_all()
    assert is_begun(config, elsewhere.folder)
    with pytest.raises(InputError, match="holds a run already"):
        elsewhere.require_new()


def test_files_of_something_else_in_the_bucket_are_not_mixed_with_a_run(bucket_url, tmp_path):
    run = BucketRun(tmp_path / "first", Bucket(bucket_url).below("first"))
    (tmp_path / "notes.txt").write_text("mine")
    run.bucket.put(tmp_path / "notes.txt", "notes.txt")
    with pytest.raises(InputError, match="holds a run already"):
        run.require_new()


def test_a_file_is_deleted_here_and_there(bucket_url, tmp_path):
    run = BucketRun(tmp_path / "first", Bucket(bucket_url).below("first"))
    file = tmp_path / "file"
    file.write_text("weights", encoding="utf-8")
    for name in ("trials/0/checkpoint/best/model.safetensors", "trials/0/log.txt"):
        run.bucket.put(file, name)
    here = run.folder / "trials/0/checkpoint/best/model.safetensors"
    here.parent.mkdir(parents=True)
    here.write_text("weights", encoding="utf-8")
    for _ in range(2):  # a session that was cut off after the first deletes it again
        run.delete(here)
        assert list(run.bucket.files()) == ["trials/0/log.txt"]
        assert not here.exists()
