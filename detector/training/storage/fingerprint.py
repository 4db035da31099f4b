"""What tells the pages of two trainings apart: at once by words and sizes, later by content.

The content of many images takes minutes to read from a network folder, and nobody needs it before
the first step. So a thread reads it while the training runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from detector.config.sections import Section
from detector.core.files import file_digest
from detector.data.labels.annotations import Page, Split
from detector.data.page.pdf import file_of

THREAD = "image digests"
_NICENESS = 10  # of the thread that reads: loaders and the network come first


class Pages(Section):
    """The pages of a split that a training used.

    `annotations` is the digest of their words as read: outlines, texts and ignore flags, after
    exclusions. `sizes` is that of the names and sizes of their files (None in older records), and
    `images` that of names and contents (None where they have not all been read yet).
    """

    split: str
    pages: int
    words: int
    sizes: str | None = None
    images: str | None = None
    annotations: str


def fingerprint(split: Split) -> Pages:
    """Counts and digests of a split's pages, but for the content of images, which is not read."""
    annotations = _digest()
    for page in split.pages:
        annotations.update(_words(page))
    return Pages(
        split=split.name,
        pages=len(split.pages),
        words=sum(len(page.words) for page in split.pages),
        sizes=sizes_of(split.pages),
        annotations=annotations.hexdigest(),
    )


def sizes_of(pages: Sequence[Page]) -> str:
    """The digest of the names and sizes of image files, which are not read."""
    digest = _digest()
    for page in pages:
        digest.update(f"{page.name}\0{_size(page)}\0".encode())
    return digest.hexdigest()


class Contents:
    """The `images` digests of several splits, read by a thread; a process reads a file once."""

    def __init__(self, splits: Sequence[Sequence[Page]]) -> None:
        self._splits, self._digests = splits, [_digest() for _ in splits]
        self._left, self._stopped = sum(map(len, splits)), False
        self._thread = threading.Thread(target=self._read, name=THREAD, daemon=True)
        self._thread.start()

    @property
    def left(self) -> int:
        """How many images are still to be read."""
        return self._left

    def wait(self) -> tuple[str, ...]:
        """The digests of all splits, when all is read."""
        self._thread.join()
        return tuple(digest.hexdigest() for digest in self._digests)

    def stop(self) -> None:
        """Read no further image."""
        self._stopped = True

    def _read(self) -> None:
        with suppress(AttributeError, OSError):  # Linux has a niceness of each thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        for pages, digest in zip(self._splits, self._digests, strict=True):
            for page in pages:
                if self._stopped:
                    return
                digest.update(f"{page.name}\0{_content(page)}\0".encode())
                self._left -= 1


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _size(page: Page) -> int | None:
    with suppress(OSError):
        return file_of(page.path).stat().st_size
    return None  # the training skips such a page, and goes on


def _content(page: Page) -> str:
    try:
        return file_digest(file_of(page.path))
    except OSError:
        return "unreadable"


def _words(page: Page) -> bytes:
    words = [[word.points.tolist(), word.text, word.ignore] for word in page.words]
    return json.dumps([page.name, words]).encode()
