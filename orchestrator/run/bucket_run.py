"""A run kept in a bucket: what the machine of the search puts there and gets from there.

Trials put their folders there themselves (see `orchestrator.execute.bucket_trial`). The search gets
what people read: logs and curves at each report, weights when a trial is over or paused. It puts
everything else: settings, the study whenever it has changed, results. So the bucket alone is
enough to go on with the search on another machine.
"""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Set
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from detector.config.cli import log
from detector.core.errors import InputError
from detector.core.files import replacing
from detector.training.storage.generations import BROKEN, LAST, PREVIOUS
from orchestrator.config.settings import SearchConfig
from orchestrator.run.run_folder import CONFIG
from orchestrator.store.bucket import Bucket, BucketError
from orchestrator.store.mirror import Mirror
from orchestrator.store.storage import DATABASE, JOURNAL

NOTES = ".bucket.json"  # in the run folder: what was copied
STATE = f"checkpoint/{LAST}"  # in a trial's folder
BEFORE = f"checkpoint/{PREVIOUS}"
STATES = (STATE, BEFORE, f"checkpoint/{BROKEN}")  # only a training that goes on needs them
HEAD = ".head"  # in the run folder and in the bucket: which run folder goes on with the run


def bucket_run(config: SearchConfig, folder: Path) -> BucketRun | None:
    """The run in `folder` as its settings say; None where it is kept in that folder alone."""
    if config.bucket is None:
        return None
    return BucketRun(folder, Bucket(config.bucket).below(folder.name))


def is_begun(config: SearchConfig, folder: Path) -> bool:
    """Whether there is a run in `folder`, or of its name in the bucket, that can be continued."""
    if (folder / CONFIG).exists():
        return True
    run = bucket_run(config, folder)
    return run is not None and CONFIG in run.files_now()


@contextmanager
def kept(config: SearchConfig, folder: Path) -> Iterator[None]:
    """Put what this machine has into the run's bucket, before the block and however it ends.

    From here on this folder is the one that goes on with the run: enter it last, when everything
    is checked and the folder is locked.
    """

    def put_all() -> None:
        if run := bucket_run(config, folder):  # with the notes as they are now
            run.put_all()

    if run := bucket_run(config, folder):
        run.take_over()
    put_all()
    try:
        yield
    except BaseException:
        with suppress(BucketError, OSError):  # which may be the very error
            put_all()
        raise
    put_all()


class BucketRun:
    """The run in `folder`, with the same files in `bucket`; errors are those of `Bucket`."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.folder, self.bucket = folder.resolve(), bucket
        self._mirror = Mirror(self.folder, bucket, notes=self.folder / NOTES)

    def require_new(self) -> None:
        """InputError when the bucket has a run of this name, which this one would overwrite.

        What a search leaves that is cut off before its settings are there is no run.
        """
        there = self.files_now()
        if there and (CONFIG in there or HEAD not in there):
            raise InputError(
                f"bucket: {self.bucket.url} holds a run already; choose another name, or continue "
                f"that one with name={self.folder.name} resume=true"
            )

    def files_now(self) -> Set[str]:
        """The names of the run's files in the bucket; a fault of the store is told at once."""
        return Bucket(self.bucket.url, waits=()).files().keys()

    def restore(self) -> None:
        """Make the run folder out of the bucket, where there is none on this machine.

        A copy that never went on with the run is made anew. InputError, with nothing made, when the
        bucket has no such run.
        """
        is_here = (self.folder / CONFIG).exists()
        if is_here and (self.folder / HEAD).exists():
            return
        if CONFIG not in self.bucket.files():
            if is_here:  # made here, and cut off before the bucket had any of it
                return
            raise InputError(
                f"name: there is no run to resume at {self.bucket.url}; check name and bucket, or "
                "leave resume=true out to start a new run"
            )
        self._mirror.pull(lambda name: is_result(name) and name != CONFIG)
        if self._mirror.pull(lambda name: name == CONFIG):  # last: it says that the run is here
            log(f"{self.folder}: copied from {self.bucket.url}")

    def get_trial(self, folder: Path, *, whole: bool) -> None:
        """Get what is new of a trial; its checkpoints, which are large, only if `whole`."""
        name = folder.relative_to(self.folder).as_posix()
        self._mirror.pull(lambda n: is_result(n) and (whole or "/checkpoint/" not in n), under=name)

    def put_study(self) -> None:
        """Put the study where it is a file of the run, as it is now.

        BucketError when another folder has gone on with the run, whose study is the newer one.
        """
        self._require_mine()
        if (self.folder / DATABASE).is_file():
            with tempfile.TemporaryDirectory() as scratch:
                copy = Path(scratch) / DATABASE
                _copy_database(self.folder / DATABASE, copy)
                self.bucket.put(copy, DATABASE)
        self._mirror.push(lambda name: name == JOURNAL)

    def put_all(self) -> None:
        """Put what this machine has added: settings, results, the last rows of TensorBoard."""
        self._require_mine()
        late = (CONFIG, DATABASE)
        self._mirror.push(lambda name: not name.startswith(late) and is_result(name))
        self.put_study()
        self._mirror.push(lambda name: name == CONFIG)  # last: it says that the run is there

    def delete(self, path: Path) -> None:
        """Delete a file of the run, here and there; it need not be there."""
        path.unlink(missing_ok=True)
        self.bucket.delete(path.resolve().relative_to(self.folder).as_posix())

    def take_over(self) -> None:
        """Make this the folder that goes on with the run, unless it was that once."""
        if not (self.folder / HEAD).exists():
            with replacing(self.folder / HEAD) as mark:  # here last
                mark.write_text(uuid.uuid4().hex, encoding="utf-8")
                self.bucket.put(mark, HEAD)

    def _require_mine(self) -> None:
        theirs, mine = self.bucket.text(HEAD), self.folder / HEAD
        if theirs is None:
            return
        if not mine.is_file() or mine.read_text(encoding="utf-8") != theirs:
            raise BucketError(
                f"{self.bucket.url}: another folder or machine has gone on with this run; end its "
                f"search, and move {self.folder} away, so that it is copied from there anew"
            )


def _copy_database(source: Path, target: Path) -> None:
    """A copy of an SQLite database that is being written to, between two of its transactions."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def is_result(name: str) -> bool:
    """Whether a file is more than a state that a training goes on from."""
    return not name.endswith(STATES)
