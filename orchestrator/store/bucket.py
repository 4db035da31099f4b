"""Files in a bucket: S3, and what else pyarrow's file systems reach.

The address is a URL as pyarrow reads it (https://arrow.apache.org/docs/python/filesystems.html):
s3://BUCKET/KEY?region=..., with endpoint_override and scheme for servers that are not Amazon's.
Credentials come from where the store's own tools look: the environment, or the machine's role. An
object is written whole or not at all, which the library alone does not keep: it puts what it has
when a write is broken off. So objects are put under another name and copied by the store. Folders
cannot be renamed, which is why trials do not work there but in folders of their own (see
`orchestrator.execute.bucket_trial`).
"""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from detector.core.errors import JobError
from detector.core.files import replacing

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
WAITS_S = (1.0, 4.0, 15.0, 40.0)  # between tries, beside those that the store's own library makes
CHUNK = 8 * 2**20
LEFT_NS = 86400 * 10**9  # an upload that has not ended in a day was killed
_UPLOAD = re.compile(r"(.*/)?\.[^/]+\.[0-9a-f]{8}\.upload")
_FINAL = re.compile(r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH")
_SECRET = re.compile(r"secret|password|token|credential|account_?key|access_?key|sas", re.I)
_OF_AZURE = "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET"
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
}
_RUBBISH = re.compile(r" \(Request ID.*| Request ID:.*", re.DOTALL)

Result = TypeVar("Result")


class BucketError(JobError):
    """A bucket that cannot be reached or used; the text says which and why."""


class Entry(NamedTuple):
    """A file as the bucket lists it: the time of its last change in nanoseconds, and its bytes."""

    changed: int
    size: int


def is_url(value: object) -> bool:
    """Whether this is s3://BUCKET/KEY or the like; as a path it would be a folder called s3:."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)) is not None


def address_fault(url: str) -> str | None:
    """What is wrong with a bucket's address; None when nothing is."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        return f"must be the address of a bucket, such as s3://BUCKET/KEY ({known}), got {url!r}"
    named = [
        key for key, _ in parse_qsl(parts.query, keep_blank_values=True) if _SECRET.search(key)
    ]
    if named or parts.password or (parts.scheme == "s3" and parts.username):
        where = f" ({', '.join(named)})" if named else ""
        return (
            f"must not hold a secret{where}, since it is written down; give the machines a "
            "role, or set what the store's own library reads: "
            f"{_CREDENTIALS.get(parts.scheme, _OF_AZURE)}"
        )
    return None


@dataclass(frozen=True)
class Bucket:
    """The files below an address; names are relative to it, with `/` between their parts.

    Every method raises BucketError when the store still refuses or does not answer after `waits`,
    the seconds between tries. Errors of the machine's own disk are OSErrors as ever.
    """

    url: str
    waits: tuple[float, ...] = WAITS_S

    def below(self, key: str) -> Bucket:
        """What lies below a key of this one."""
        parts = urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{key}"
        return Bucket(urlunsplit(parts._replace(path=path)), self.waits)

    def files(self, under: str = "") -> dict[str, Entry]:
        """All files whose names begin with the folder `under`; what killed uploads left is deleted.

        BucketError for names that would lie outside a folder that they are copied to.
        """
        from pyarrow.fs import FileSelector, FileType

        start = self._place(under) if under else self._base
        selector = FileSelector(start, recursive=True, allow_not_found=True)
        found = self._tried(lambda: self._store.get_file_info(selector))
        files = {
            info.path[len(self._base) + 1 :]: Entry(info.mtime_ns or 0, info.size)
            for info in found
            if info.type is FileType.File
        }
        for name in files:
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise BucketError(
                    f"{self.url}: {name!r} would lie outside of the folder; rename that object"
                )
        uploads = {name for name in files if _UPLOAD.fullmatch(name)}
        for name in uploads:
            if time.time_ns() - files[name].changed > LEFT_NS:
                with suppress(BucketError):  # who may only read leaves that to others
                    self.delete(name)
        return {name: entry for name, entry in files.items() if name not in uploads}

    def get(self, name: str, path: Path) -> None:
        """Replace a local file by one of the bucket; FileNotFoundError when it has gone."""

        def call() -> None:
            with (
                replacing(path) as temporary,
                self._store.open_input_stream(self._place(name)) as source,
                temporary.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink, CHUNK)

        self._tried(call)

    def put(self, path: Path, name: str) -> None:
        """Replace a file of the bucket by a local one, of at most 5 GiB in S3.

        Whatever ends it before, a kill or an error, leaves the former one.
        """

        def call() -> None:
            with path.open("rb") as source:
                folder, _, last = name.rpartition("/")
                beside = f".{last}.{uuid.uuid4().hex[:8]}.upload"
                self._upload(source, self._place(f"{folder}/{beside}" if folder else beside), name)

        self._tried(call)

    def _upload(self, source: BinaryIO, temporary: str, name: str) -> None:
        try:
            with self._store.open_output_stream(temporary) as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            self._store.copy_file(temporary, self._place(name))
        finally:
            with suppress(OSError):  # it was not begun, or stays until `files` finds it
                self._store.delete_file(temporary)

    def text(self, name: str) -> str | None:
        """What a small UTF-8 file holds; None when it is not there."""

        def call() -> str:
            with self._store.open_input_stream(self._place(name)) as source:
                return str(source.read(), "utf-8")

        try:
            return self._tried(call)
        except FileNotFoundError:
            return None

    def copy(self, name: str, to: str) -> None:
        """Replace a file of the bucket by another of its files, without a way through here."""
        self._tried(lambda: self._store.copy_file(self._place(name), self._place(to)))

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        with suppress(FileNotFoundError):
            self._tried(lambda: self._store.delete_file(self._place(name)))

    def _place(self, name: str) -> str:
        return f"{self._base}/{name}"

    @property
    def _store(self) -> Any:
        return self._tried(lambda: _opened(self.url))[0]

    @property
    def _base(self) -> str:
        return self._tried(lambda: _opened(self.url))[1].rstrip("/")

    def _tried(self, call: Callable[[], Result]) -> Result:
        from pyarrow import ArrowException

        for wait in (*self.waits, None):
            try:
                return call()
            except FileNotFoundError:
                raise
            except (OSError, ArrowException) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of the machine's own disk
                text = _RUBBISH.sub("", " ".join(str(error).split()))
                if wait is None or _FINAL.search(text):
                    raise BucketError(f"{self.url}: {text}") from None
                time.sleep(wait)
        raise AssertionError


@cache
def _opened(url: str) -> tuple[Any, str]:
    """The store and the path in it; opening one may ask Amazon where a bucket is."""
    from pyarrow.fs import FileSystem

    store, base = FileSystem.from_uri(url)
    return store, base
