"""A folder and a bucket that are kept alike, against a server that speaks S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store import mirror as module
from orchestrator.store.bucket import Bucket, BucketError
from orchestrator.store.mirror import Mirror


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


@pytest.fixture
def bucket(bucket_url) -> Bucket:
    return Bucket(bucket_url, waits=())


def test_a_folder_goes_there_and_comes_back(bucket, tmp_path):
    here = write(tmp_path / "here", a="1", b__c="2", b__d="3")
    write(here, **{".lock": "not for others", "b__.d.tmp": "half"})
    assert Mirror(here, bucket).push() == 3
    other = Mirror(tmp_path / "there", bucket)
    assert other.pull(lambda name: name != "b/d") == 2
    assert read(tmp_path / "there") == {"a": "1", "b/c": "2"}
    assert other.pull(under="b") >= 1
    assert read(tmp_path / "there") == {"a": "1", "b/c": "2", "b/d": "3"}


def test_only_what_has_changed_is_sent(bucket, tmp_path):
    here = write(tmp_path / "here", a="1", b="2")
    mirror = Mirror(here, bucket)
    assert mirror.push() == 2
    assert mirror.push() == 0
    write(here, b="3", c="4")
    assert mirror.push(lambda name: name != "c") == 1
    assert mirror.push() == 1
    assert mirror.knows("c")
    assert not mirror.knows("d")


def test_only_what_has_changed_is_fetched_and_notes_last_longer_than_the_process(
    bucket, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "FRESH_NS", -(10**18))  # nothing counts as just changed
    here = write(tmp_path / "here", a="1", b="2")
    Mirror(here, bucket).push()
    there, notes = tmp_path / "there", tmp_path / "notes.json"
    assert Mirror(there, bucket, notes=notes).pull() == 2
    assert Mirror(there, bucket, notes=notes).pull() == 0
    write(there, a="damaged")
    (there / "b").unlink()
    assert Mirror(there, bucket, notes=notes).pull() == 2
    assert read(there) == {"a": "1", "b": "2"}
    notes.write_text("{")  # cut off
    assert Mirror(there, bucket, notes=notes).pull() == 2


def test_a_file_that_changed_a_moment_ago_is_fetched_again(bucket, tmp_path):
    """A store's times are whole seconds: "1" and "2" look the same in its list."""
    here, there = write(tmp_path / "here", a="1"), tmp_path / "there"
    mine, other = Mirror(here, bucket), Mirror(there, bucket)
    mine.push()
    other.pull()
    write(here, a="2")
    mine.push()
    other.pull()
    assert read(there) == {"a": "2"}


def test_exactly_removes_what_the_bucket_does_not_have(bucket, tmp_path):
    here, there = write(tmp_path / "here", a="1", b="2"), write(tmp_path / "there", b="0", x="9")
    Mirror(here, bucket).push()
    mirror = Mirror(there, bucket)
    mirror.pull(exactly=True)
    assert read(there) == {"a": "1", "b": "2"}
    bucket.delete("b")
    mirror.pull(exactly=True)
    assert read(there) == {"a": "1"}
    assert not mirror.knows("b")


def test_what_was_copied_before_a_fault_is_not_copied_again(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "THREADS", 1)
    here, notes = write(tmp_path / "here", a="1", b="2"), tmp_path / "notes.json"
    put = Bucket.put

    def refused(self, path, name):
        if name == "b":
            raise BucketError("full")
        put(self, path, name)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "put", refused)
        with pytest.raises(BucketError, match="full"):
            Mirror(here, bucket, notes=notes).push()
    assert Mirror(here, bucket, notes=notes).push() == 1
    assert set(bucket.files()) == {"a", "b"}


def test_an_empty_folder_and_one_that_is_not_there(bucket, tmp_path):
    (tmp_path / "empty").mkdir()
    assert Mirror(tmp_path / "empty", bucket).push() == 0
    assert Mirror(tmp_path / "none", bucket).push() == 0
    assert Mirror(tmp_path / "none", bucket).pull() == 0
    assert not (tmp_path / "none").exists()
