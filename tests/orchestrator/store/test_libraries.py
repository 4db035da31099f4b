"""Why the files of a bucket are copied by code of our own: what libraries do where it would hurt.

Each test runs the library itself and, beside it, what is used in its place. One that fails with a
newer library says that the own code may go.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from pyarrow import ArrowInvalid
from pyarrow.fs import FileSystem, copy_files

from orchestrator.store.bucket import Bucket
from orchestrator.store.mirror import Mirror

# A process with a disk for 1 MB a file gets 4 MB; it prints the kind of the error.
FULL = """
import resource, sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

how, url, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
parts = urlsplit(url)
if how == "fsspec":
    import s3fs
    server = "http://" + parse_qs(parts.query)["endpoint_override"][0]
    store = s3fs.S3FileSystem(endpoint_url=server)
    get = lambda: store.get(f"{parts.hostname}{parts.path}/", f"{folder}/", recursive=True)
else:
    from pyarrow.fs import FileSystem, copy_files
    store, base = FileSystem.from_uri(url)
    get = lambda: copy_files(base, str(folder), source_filesystem=store)
if how == "ray":
    from ray.train import Checkpoint
    get = lambda: Checkpoint(base, store).to_directory(folder)
if how == "own":
    from orchestrator.store.bucket import Bucket
    from orchestrator.store.mirror import Mirror
    get = Mirror(folder, Bucket(url, waits=())).pull
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
try:
    get()
except OSError as error:
    print("failed")
"""
LIBRARIES = ("pyarrow", "ray", "fsspec")


@pytest.fixture
def bucket(bucket_url) -> Bucket:
    return Bucket(bucket_url, waits=())


@pytest.mark.parametrize("how", ["own", *LIBRARIES])
def test_a_full_disk_costs_the_former_file_unless_a_copy_is_renamed(bucket, tmp_path, how):
    if how == "fsspec" and importlib.util.find_spec("s3fs") is None:
        pytest.skip("s3fs is missing: pip install s3fs")
    (tmp_path / "new").write_bytes(b"n" * 4_000_000)
    bucket.put(tmp_path / "new", "weights")
    here = tmp_path / "here"
    here.mkdir()
    (here / "weights").write_text("former")
    command = [sys.executable, "-c", FULL, how, bucket.url, str(here)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "failed\n"
    is_whole = (here / "weights").read_bytes() in (b"former", b"n" * 4_000_000)
    assert is_whole == (how == "own")


def test_a_stream_of_pyarrow_that_an_error_ends_puts_what_it_has(bucket, tmp_path):
    """So `Bucket.put` writes under another name; see the test of an upload that is broken off."""
    (tmp_path / "file").write_text("former")
    bucket.put(tmp_path / "file", "name")
    store, base = FileSystem.from_uri(bucket.url)

    def broken_off() -> None:
        with store.open_output_stream(f"{base}/name") as sink:
            sink.write(b"half")
            raise RuntimeError("the source cannot be read")

    with pytest.raises(RuntimeError, match="the source cannot be read"):
        broken_off()
    assert bucket.text("name") == "half"


def test_copy_files_of_pyarrow_copies_what_has_not_changed_and_what_is_hidden(bucket, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for name in ("a", ".lock"):
        (here / name).write_text(name)
    mirror = Mirror(here, bucket)
    assert mirror.push() == 1
    assert mirror.push() == 0
    assert set(bucket.files()) == {"a"}

    store, base = FileSystem.from_uri(bucket.url)
    copied = []
    for _ in range(2):
        copy_files(str(here), base, destination_filesystem=store)
        copy_files(base, str(there), source_filesystem=store)
        copied.append((there / "a").stat().st_mtime_ns)
    assert copied[0] < copied[1]
    assert set(bucket.files()) == {"a", ".lock"}


def test_an_address_has_no_word_for_how_long_pyarrow_tries(bucket):
    """`S3FileSystem` takes a number of tries, but reads no address, and is for one store only."""
    with pytest.raises(ArrowInvalid, match="Unexpected query parameter in S3 URI: 'max_attempts'"):
        FileSystem.from_uri(f"{bucket.url}&max_attempts=9")
