"""Trials whose machines share nothing but a bucket, which a server that speaks S3 holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from detector.core.folders import cache_folder
from detector.training.storage.generations import LAST, PREVIOUS
from orchestrator.execute.bucket_trial import STATE, InBucket
from orchestrator.execute.trial import detector_trial
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.store.bucket import Bucket, BucketError
from orchestrator.store.mirror import Mirror
from orchestrator.trials.job import TrialJob, Twin

RUN = Path("/nowhere/runs/first")  # the run folder of another machine
THRESH = "postprocess.box_thresh"
POINT = {"optimizer.lr": 0.002, THRESH: 0.2}


@pytest.fixture
def bucket(bucket_url) -> Bucket:
    return Bucket(bucket_url, waits=())


@pytest.fixture
def train(make_dataset, tiny_settings, tmp_path, monkeypatch):
    """`train(place, job) -> reports` on a machine with an empty disk of its own."""
    root = make_dataset(tmp_path / "data", split="train", pages=3)
    make_dataset(root, split="val", pages=2)
    lr = Parameter("optimizer.lr", "log_uniform", (1e-4, 1e-2))
    space = SearchSpace(
        name="test",
        description="",
        fixed=tiny_settings | {"data.root": root},
        parameters={"optimizer.lr": lr, THRESH: Parameter(THRESH, "uniform", (0.1, 0.9))},
        warm_start=(),
        budget=Budget(trials=2, epochs=3, grace_epochs=1, reduction_factor=2),
    )
    machines = 0

    def run(place, job) -> list[dict[str, Any]]:
        nonlocal machines
        machines += 1
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine{machines}"))
        reports: list[dict[str, Any]] = []
        with place(job, reports.append) as (here, say):
            assert here.folder != job.folder
            detector_trial(space, threads=1)(here, say)
        assert list((cache_folder() / "trials").iterdir()) == []  # nothing is left on the machine
        return reports

    before = torch.get_num_threads()
    yield run
    torch.set_num_threads(before)


def job(name: str = "00000_x", **more: Any) -> TrialJob:
    return TrialJob(int(name[:5]), RUN / "trials" / name, dict(POINT), **more)


def fetched(bucket: Bucket, folder: Path) -> Path:
    Mirror(folder, bucket).pull()
    return folder


def test_a_training_on_three_machines_equals_one_on_one(bucket, train, tmp_path):
    parts, whole = bucket.below("parts"), bucket.below("whole")
    place = InBucket(parts, RUN)
    reports = [r for until in (1, 2, None) for r in train(place, job(until=until))]
    assert [(r["epoch"], r["finished"]) for r in reports] == [(1, False), (2, False), (3, True)]
    assert {r["checkpoint"] for r in reports} == {"trials/00000_x/checkpoint/best"}
    train(InBucket(whole, RUN), job())

    one, other = (fetched(b, tmp_path / n) for b, n in ((parts, "parts"), (whole, "whole")))
    folder = other / "trials/00000_x"
    assert {"log.txt", "record.json", "checkpoint"} <= {p.name for p in folder.iterdir()}
    for name in (LAST, PREVIOUS, "best/model.safetensors"):
        a, b = (load_file(r / "trials/00000_x/checkpoint" / name) for r in (one, other))
        assert a.keys() == b.keys()
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
    said = (one / "trials/00000_x/log.txt").read_text()
    assert "resuming after epoch 1 of 3" in said
    assert "resuming after epoch 2 of 3" in said


def test_a_damaged_state_in_the_bucket_costs_one_epoch(bucket, train, tmp_path):
    place = InBucket(bucket, RUN)
    train(place, job(until=2))
    trial = bucket.below("trials/00000_x")
    trial.get(STATE, tmp_path / "state")
    (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:-100])
    trial.put(tmp_path / "state", STATE)
    assert [r["epoch"] for r in train(place, job())] == [2, 3]
    trial.get("log.txt", tmp_path / "log.txt")
    assert "the state before" in (tmp_path / "log.txt").read_text()


def test_an_epoch_is_told_when_it_is_safe_and_not_before(bucket):
    def report(values: dict[str, Any]) -> None:
        told.append((values["epoch"], sorted(bucket.below("trials/00000_x").files())))

    told: list[tuple[int, list[str]]] = []
    with InBucket(bucket, RUN)(job(), report) as (here, say):
        checkpoint = here.folder / "checkpoint"
        checkpoint.mkdir(parents=True)
        for epoch in (1, 2):
            (checkpoint / LAST).write_text(f"state {epoch}")
            say({"epoch": epoch})
        (here.folder / "error.txt").write_text("what came last")
    assert told == [(1, [STATE]), (2, [STATE, f"checkpoint/{PREVIOUS}"])]
    assert set(bucket.below("trials/00000_x").files()) == {
        *(STATE, f"checkpoint/{PREVIOUS}", "error.txt")
    }


def test_the_state_is_kept_before_the_best_weights_that_it_tells_of(bucket, monkeypatch):
    """So what a kill cuts off can be written again from the state, as it can on a disk."""
    names, put = [], Bucket.put
    monkeypatch.setattr(Bucket, "put", lambda *a: (names.append(a[2]), put(*a)))
    with InBucket(bucket, RUN)(job(), lambda _: None) as (here, say):
        best = here.folder / "checkpoint" / "best"
        best.mkdir(parents=True)
        kept = ("checkpoint/best/model.safetensors", "checkpoint/best/config.yaml")
        for name in (*kept, STATE, "record.json", "box_thresh.json"):
            (here.folder / name).write_text(name)
        say({"epoch": 1})
    assert names[:2] == ["record.json", STATE]
    assert set(names[2:4]) == {kept[1], "box_thresh.json"}
    assert names[4:] == [kept[0]]


def test_a_bucket_that_is_full_keeps_an_epoch_from_being_told(bucket, monkeypatch):
    def full(*_: Any) -> None:
        raise BucketError("full")

    def one_epoch() -> None:
        with InBucket(bucket, RUN)(job(), told.append) as (here, say):
            here.folder.mkdir(parents=True)
            (here.folder / "log.txt").write_text("epoch 1")
            monkeypatch.setattr(Bucket, "put", full)
            say({"epoch": 1})

    told: list[dict[str, Any]] = []
    with pytest.raises(BucketError, match="full"):
        one_epoch()
    assert told == []
    assert list((cache_folder() / "trials").iterdir()) == []


def test_what_a_killed_process_left_is_deleted_by_the_next(bucket):
    left = cache_folder() / "trials" / "abc"
    left.mkdir(parents=True)
    left.with_suffix(".lock").touch()  # held by nobody
    (left / "last.safetensors").touch()
    with InBucket(bucket, RUN)(job(), print) as (one, _):
        assert not left.exists()
        with InBucket(bucket, RUN)(job("00001_y"), print) as (other, _):
            assert one.folder.parents[1].is_dir()  # of a process that is at work
            assert other.folder.name == "00001_y"


def test_a_twin_is_scored_with_weights_that_another_machine_trained(bucket, train):
    place = InBucket(bucket, RUN)
    train(place, job())
    twin = Twin(RUN / "trials/00000_x", epochs=3, best_epoch=1, finished=True)
    second = replace(job("00001_x", twin=twin), params=POINT | {THRESH: 0.4})
    (last,) = train(place, second)
    assert (last["epoch"], last["finished"]) == (3, True)
    assert "checkpoint/best/model.safetensors" in bucket.below("trials/00001_x").files()


def test_new_seeds_have_a_folder_in_that_of_their_trial_and_do_not_travel_with_it(bucket):
    place, seed = InBucket(bucket, RUN), RUN / "trials" / "00000_x" / "seeds" / "5"
    with place(replace(job(), folder=seed), print) as (here, say):
        here.folder.mkdir(parents=True)
        (here.folder / "log.txt").write_text("seed 5")
        say({"epoch": 1})
    assert set(bucket.files()) == {"trials/00000_x/seeds/5/log.txt"}
    with place(job(), print) as (here, _):
        assert not here.folder.exists()
