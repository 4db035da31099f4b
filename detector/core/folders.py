"""Folders of files that belong together: replaced as a whole, and read of one generation.

And the one folder that this project has on a machine without being told.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from detector.core.files import Result, beside, sync_file, sync_folder

WAITS_S = tuple(0.01 * tries for tries in range(15))  # a second in all, for a folder that is moved


_AT_CWD, _EXCHANGE = -100, 2  # of Linux's renameat2


def cache_folder() -> Path:
    """The folder of this project among the user's caches; perhaps not there yet."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a container's user without a home
        base = tempfile.gettempdir()
    return Path(base) / "receipt-orchestrator"


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends without an error.

    All of it reaches the disk before. Where a file system cannot swap two names at once (NFS),
    there is none of that name for a moment; `clear_up` puts back what a kill leaves out then.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = beside(target, "new")
    fresh.mkdir()
    try:
        yield fresh
        flush_folder(fresh)
        _take_place(fresh, target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Let all that lies in a folder reach the disk."""
    for path in (*folder.rglob("*"), folder):
        (sync_folder if path.is_dir() else sync_file)(path)


def copy_folder(source: Path, target: Path) -> None:
    """Make `target` a copy of the files in `source`, all of one generation, times included.

    Hidden files take no part. FileNotFoundError when there is no such folder.
    """
    with replacing_folder(target) as fresh:

        def copy() -> None:
            for path in fresh.iterdir():  # of a try that was overtaken
                path.unlink()
            for path in source.iterdir():
                if not path.name.startswith("."):
                    shutil.copy2(path, fresh / path.name)

        of_one_generation(source, copy)


def of_one_generation(folder: Path, read: Callable[[], Result]) -> Result:
    """What `read` returns of a folder that was not replaced meanwhile; else it is called again.

    So all files that it read were written together (see `replacing_folder`), and what it raises
    is no matter of a folder on its way. FileNotFoundError when there is no such folder.
    """
    for wait in WAITS_S:
        with suppress(_ReplacedError):
            return _read_once(folder, read)
        time.sleep(wait)
    return _read_once(folder, read)


class _ReplacedError(FileNotFoundError):
    """A folder that another has taken the place of, or that is not there."""


def _read_once(folder: Path, read: Callable[[], Result]) -> Result:
    gone = _ReplacedError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    try:
        held = os.open(folder, os.O_RDONLY)  # no other folder gets its number while it is open
    except FileNotFoundError:
        raise gone from None
    try:
        result = read()
    except Exception:
        if _is_at(folder, held):
            raise
        raise gone from None
    else:
        if _is_at(folder, held):
            return result
        raise gone
    finally:
        os.close(held)


def _is_at(folder: Path, held: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(held))
    except OSError:
        return False


def _take_place(fresh: Path, target: Path) -> None:
    """Rename a folder over another one, which has the former name of the first or is deleted."""
    if _exchanged(fresh, target):
        return
    old = beside(target, "old")
    with suppress(FileNotFoundError):
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        with suppress(OSError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap the names of two folders at once; False where one is missing or that cannot be done."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old one
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_CWD, names[0], _AT_CWD, names[1], _EXCHANGE) == 0)
