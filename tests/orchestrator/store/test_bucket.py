"""Files in a bucket, against a server that speaks S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

from orchestrator.store import bucket as module
from orchestrator.store.bucket import Bucket, BucketError, address_fault, is_url


@pytest.fixture
def bucket(bucket_url) -> Bucket:
    return Bucket(bucket_url, waits=())


def test_what_is_put_comes_back_under_its_name(bucket, tmp_path):
    (tmp_path / "one").write_bytes(b"\x00first" * 3_000_000)  # sent in parts
    (tmp_path / "empty").write_bytes(b"")
    bucket.put(tmp_path / "one", "a/b/one.bin")
    bucket.put(tmp_path / "empty", "영수증 1.txt")
    files = bucket.files()
    assert {name: entry.size for name, entry in files.items()} == {
        "a/b/one.bin": 18_000_000,
        "영수증 1.txt": 0,
    }
    assert abs(files["a/b/one.bin"].changed / 1e9 - time.time()) < 600
    assert set(bucket.files("a/b")) == {"a/b/one.bin"}
    assert bucket.files("a/nothing") == {}
    bucket.get("a/b/one.bin", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == (tmp_path / "one").read_bytes()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["copy"]  # no temporary file

    assert set(bucket.below("a").files()) == {"b/one.bin"}
    bucket.copy("a/b/one.bin", "a/other")
    bucket.delete("a/b/one.bin")
    bucket.delete("a/b/one.bin")  # it is not there any more, which is what was asked for
    assert set(bucket.files("a")) == {"a/other"}
    with pytest.raises(FileNotFoundError):
        bucket.get("a/b/one.bin", tmp_path / "none")
    assert not (tmp_path / "none").exists()


PUT = """
import sys
from pathlib import Path
from orchestrator.store.bucket import Bucket
try:
    Bucket(sys.argv[1]).put(Path(sys.argv[2]), "a/name")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_upload_that_is_broken_off_leaves_the_former_file(bucket, tmp_path, end):
    """A pipe that is still open: its reader has sent two parts and waits for more."""
    bucket.put(_written(tmp_path / "file"), "a/name")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", PUT, bucket.url, str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with pipe.open("wb", buffering=0) as writer:
            writer.write(bytes(20_000_000))
            process.send_signal(end)
            with suppress(BrokenPipeError):  # a thread of the library may have got the signal
                writer.write(bytes(20_000_000))
            said = process.communicate()[0]
        assert said == ("interrupted\n" if end == signal.SIGINT else "")
    assert bucket.text("a/name") == "content"
    assert set(_objects(bucket)) == {"key/a/name"}


def test_what_a_killed_upload_left_is_no_file_and_is_deleted_after_a_day(
    bucket, tmp_path, monkeypatch
):
    left = "a/.영수증.txt.0123abcd.upload"
    for name in (left, "a/.head", "name.upload"):
        bucket.put(_written(tmp_path / "file"), name)
    assert set(bucket.files()) == set(bucket.files()) == {"a/.head", "name.upload"}
    assert f"key/{left}" in _objects(bucket)
    monkeypatch.setattr(module, "LEFT_NS", -(10**18))
    assert set(bucket.files("a")) == {"a/.head"}
    assert set(_objects(bucket)) == {"key/a/.head", "key/name.upload"}


def test_a_small_file_as_text(bucket, tmp_path):
    assert bucket.text("note") is None
    (tmp_path / "note").write_text("영수증", encoding="utf-8")
    bucket.put(tmp_path / "note", "note")
    assert bucket.text("note") == "영수증"


def test_a_bucket_that_is_not_there_is_said_at_once(s3_store, tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("orchestrator.store.bucket.time.sleep", waits.append)
    url = s3_store.address("no-such-bucket", "key")
    with pytest.raises(BucketError) as error:
        Bucket(url).put(_written(tmp_path / "file"), "name")
    assert waits == []
    said = str(error.value)
    assert said.startswith(f"{url}: ")
    assert "AWS Error NO_SUCH_BUCKET" in said
    assert said.endswith("The specified bucket does not exist")


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_asked_again():
    url = "s3://bucket/key?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:9"
    with pytest.raises(BucketError, match=r"^s3://bucket/key.*: .*[Cc]onnect"):
        Bucket(url, waits=(0.01,)).files()


def test_the_disk_of_the_machine_is_not_the_bucket(bucket, tmp_path):
    with pytest.raises(FileNotFoundError):
        bucket.put(tmp_path / "none", "name")
    bucket.put(_written(tmp_path / "file"), "name")
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(OSError, match=r"(?i)exists|not a directory"):
        bucket.get("name", tmp_path / "blocked" / "copy")


def test_names_that_climb_out_of_a_folder_are_refused(bucket):
    """Put there past HTTP, whose paths most clients make plain; a store takes any name."""
    backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
    name = urlsplit(bucket.url).hostname
    backend.put_object(name, "key/images/../../../etc/passwd", b"root")
    with pytest.raises(BucketError, match=r"etc/passwd' would lie outside of the folder"):
        bucket.files()


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a/b?region=eu-west-1", "gs://b/c"])
def test_addresses(url):
    assert address_fault(url) is None
    assert is_url(url)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("/mnt/shared", "must be the address of a bucket, such as s3://BUCKET/KEY"),
        ("s3:/bucket/key", "must be the address of a bucket"),
        ("s3:///key", "must be the address of a bucket"),
        ("file:///mnt/shared", "must be the address of a bucket"),
        ("http://bucket/key", "must be the address of a bucket"),
        ("s3://me:secret@bucket/key", "must not hold a secret"),
        ("abfs://account:secret@bucket/key", "must not hold a secret"),
        (
            "abfs://container@account.dfs/key?client_id=me&client_secret=x",
            "must not hold a secret (client_secret), since it is written down; give the machines a "
            "role, or set what the store's own library reads: AZURE_CLIENT_ID",
        ),
        ("abfss://c@a.dfs/key?SAS_TOKEN=x", "must not hold a secret (SAS_TOKEN)"),
        ("s3://bucket/key?access_key=a&secret_key=", "must not hold a secret (access_key, secret_"),
        ("gs://bucket/key?credential_token=x", "must not hold a secret (credential_token)"),
    ],
)
def test_addresses_that_are_refused(url, fault):
    assert str(address_fault(url)).startswith(fault)


def test_below_keeps_what_says_where_the_server_is():
    bucket = Bucket("s3://bucket/runs/?region=x&scheme=http").below("first").below("trials/1")
    assert bucket.url == "s3://bucket/runs/first/trials/1?region=x&scheme=http"
    assert Bucket("s3://bucket").below("first").url == "s3://bucket/first"


def _written(path: Path) -> Path:
    path.write_text("content")
    return path


def _objects(bucket: Bucket) -> list[str]:
    """The keys in the server, but those that stand for folders."""
    keys = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].buckets[urlsplit(bucket.url).hostname].keys
    return [key for key in keys if not key.endswith("/")]
