"""Copies of a dataset that lies in a bucket."""

from __future__ import annotations

import fcntl
import threading

import pytest

from detector.core.errors import InputError
from detector.core.folders import cache_folder
from detector.data.labels.annotations import read_split
from orchestrator.store.bucket import Bucket
from orchestrator.store.mirror import Mirror
from orchestrator.store.own_disk import local_copy


def test_a_dataset_is_copied_once_and_follows_the_bucket(bucket_url, make_dataset, tmp_path):
    root = make_dataset(tmp_path / "data", split="train", pages=2)
    bucket = Bucket(bucket_url, waits=())
    Mirror(root, bucket).push()
    said: list[str] = []
    threads = [
        threading.Thread(target=local_copy, args=(bucket_url,), kwargs={"say": said.append})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = local_copy(bucket_url, say=said.append)
    assert folder.parent == cache_folder() / "data"
    assert said[0] == f"{bucket_url}: 3 files copied to {folder}"
    assert len(read_split(folder, "train").pages) == 2

    image = next((root / "images/train").iterdir()).name
    bucket.delete(f"images/train/{image}")
    assert not (local_copy(bucket_url, say=said.append) / "images/train" / image).exists()


def test_whoever_copies_or_waits_for_a_copy_shows_that_it_lives(bucket_url, make_dataset, tmp_path):
    Mirror(make_dataset(tmp_path / "data", split="train", pages=2), Bucket(bucket_url)).push()
    signs: list[str] = []
    folder = local_copy(bucket_url, alive=lambda: signs.append("copied"))
    assert signs == ["copied"] * 3
    signs.clear()
    with folder.with_suffix(".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def waits() -> None:
            signs.append("waits")
            if len(signs) == 2:
                fcntl.flock(other, fcntl.LOCK_UN)

        local_copy(bucket_url, alive=waits)
    assert signs == ["waits"] * 5  # files that had just changed are copied once more


def test_an_empty_place_is_no_dataset(bucket_url):
    with pytest.raises(InputError, match=r"data\.root: nothing is at s3://.*; copy your dataset"):
        local_copy(bucket_url, waits=())
