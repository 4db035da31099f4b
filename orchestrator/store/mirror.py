"""A folder and the same files in a bucket: what has changed on one side goes to the other."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from detector.core.files import write_text
from orchestrator.store.bucket import Bucket, Entry

THREADS = 16  # a small object takes as long to ask for as to send
# A store tells times in seconds, so an object may change twice and look the same. One that had
# just changed when it was copied is copied once more.
FRESH_NS = 60 * 10**9

Wanted = Callable[[str], bool]


class Mirror:
    """`folder` as a copy of a bucket's files, or the other way; hidden files take no part.

    What was copied is noted, so that nothing is copied twice: in `notes`, or for this object's
    life only. Errors are those of `Bucket`, and OSError of the disk.
    """

    def __init__(self, folder: Path, bucket: Bucket, *, notes: Path | None = None) -> None:
        self.folder, self.bucket = folder, bucket
        self._notes = notes
        self._known: dict[str, dict[str, Any]] = {}
        if notes is not None and notes.is_file():
            with suppress(ValueError):  # cut off by a kill: everything is copied again
                self._known = json.loads(notes.read_text(encoding="utf-8"))

    def knows(self, name: str) -> bool:
        """Whether a file was copied before, one way or the other."""
        return name in self._known

    def pull(
        self,
        wanted: Wanted = lambda _: True,
        *,
        under: str = "",
        exactly: bool = False,
        alive: Callable[[], None] = lambda: None,
    ) -> int:
        """Get the files that are new or changed in the bucket; returns how many.

        `under` names the only folder to look at. With `exactly`, local files that the bucket does
        not have are deleted. `alive` is called for each file that was copied.
        """
        listed = self.bucket.files(under).items()
        there = {n: e for n, e in listed if wanted(n) and not _is_hidden(n)}
        new = [name for name, entry in there.items() if not self._has(name, entry)]
        self._each(lambda name: self._get(name, there[name]), new, alive)
        if exactly:
            for name in [n for n in self._local() if n not in there]:
                (self.folder / name).unlink(missing_ok=True)
                self._known.pop(name, None)
        return len(new)

    def push(self, wanted: Wanted = lambda _: True) -> int:
        """Put the files that are new or changed in the folder; returns how many."""
        new = [
            name
            for name in self._local()
            if wanted(name) and self._known.get(name, {}).get("here") != self._here(name)
        ]
        self._each(self._put, new)
        return len(new)

    def _has(self, name: str, entry: Entry) -> bool:
        known = self._known.get(name, {})
        same = known.get("there") == list(entry) and known["here"] == self._here(name)
        return same and bool(known["seen"] - entry.changed > FRESH_NS)

    def _get(self, name: str, entry: Entry) -> None:
        seen = time.time_ns()
        with suppress(FileNotFoundError):  # deleted since it was listed
            self.bucket.get(name, self.folder / name)
            here = self._here(name)
            self._known[name] = {"there": list(entry), "here": here, "seen": seen}

    def _put(self, name: str) -> None:
        here = self._here(name)  # before: a change meanwhile is another one to send
        self.bucket.put(self.folder / name, name)
        self._known[name] = {"there": None, "here": here, "seen": 0}

    def _here(self, name: str) -> list[int] | None:
        try:
            stat = (self.folder / name).stat()
        except FileNotFoundError:
            return None
        return [stat.st_mtime_ns, stat.st_size, stat.st_ino]

    def _local(self) -> Iterator[str]:
        for place, folders, names in os.walk(self.folder):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in sorted(n for n in names if not n.startswith(".")):
                yield (Path(place) / name).relative_to(self.folder).as_posix()

    def _each(
        self,
        work: Callable[[str], None],
        names: Sequence[str],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Do the work for each name, and note what was done even when a part of it fails."""
        if not names:
            return
        try:
            with ThreadPoolExecutor(THREADS) as pool:
                for _ in pool.map(work, names):
                    done()
        finally:
            if self._notes is not None:
                write_text(self._notes, json.dumps(self._known))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
