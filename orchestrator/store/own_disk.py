"""What a machine that shares no folder has on its own disk: copies of data, trials at work.

All of it lies in ~/.cache/receipt-orchestrator (XDG_CACHE_HOME, if set, in place of ~/.cache) and
may be deleted when no search is running.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from detector.config.cli import log
from detector.core.errors import InputError
from detector.core.folders import cache_folder
from orchestrator.store.bucket import WAITS_S, Bucket
from orchestrator.store.mirror import Mirror

LOOK_S = 0.5


@contextmanager
def working_folder() -> Iterator[Path]:
    """An empty folder for one trial, deleted at the end; what killed processes left goes first."""
    base = cache_folder() / "trials"
    base.mkdir(parents=True, exist_ok=True)
    _remove_left(base)
    folder = base / uuid.uuid4().hex[:12]
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove(folder)


def _remove_left(base: Path) -> None:
    """Delete folders whose lock nobody holds: a lock ends with its process, however that ends."""
    for path in base.glob("*.lock"):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.with_suffix(""))
        except (BlockingIOError, FileNotFoundError):  # at work, or removed by another just now
            continue


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def local_copy(
    url: str,
    *,
    say: Callable[[str], None] = log,
    waits: tuple[float, ...] = WAITS_S,
    alive: Callable[[], None] = lambda: None,
) -> Path:
    """The folder with this machine's copy of a dataset in a bucket, as that is now.

    Processes that ask at once wait for the one that copies. `alive` is called while there is
    something to wait for. InputError when nothing is there.
    """
    folder = cache_folder() / "data" / hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        while not _has(lock):
            alive()
            time.sleep(LOOK_S)
        mirror = Mirror(folder, Bucket(url, waits), notes=folder.with_suffix(".json"))
        copied = mirror.pull(exactly=True, alive=alive)
        if copied:
            say(f"{url}: {copied} files copied to {folder}")
    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(
            f"data.root: nothing is at {url}; copy your dataset there, or mend the key"
        )
    return folder


def _has(lock: IO[str]) -> bool:
    """Whether this process has the lock now; the one that had it may have ended in any way."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
