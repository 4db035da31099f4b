"""Files and folders that are either the old version or the new one, never half of each; digests.

Whoever writes a file that another run, a reader or a resume relies on does so through this module.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, TypeVar

from detector.core.errors import InputError

_LEFT = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(tmp|new|old)")
_LOCK = ".lock"
_held: set[IO[bytes]] = set()  # locks of this process
Result = TypeVar("Result")


def expand_home(path: Path | str) -> Path:
    """A path with the home folder in the place of a leading `~` or `~user`.

    InputError where there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(
            f"{path}: there is no user of this name, so no home folder; write the path in full"
        ) from None


def require_writable(key: str, path: Path | None, *, folder: bool = False) -> None:
    """InputError, naming the setting `key`, unless `path` can be written; None is no output.

    A file is written beside the one that it replaces, so the folder must take new files; what is
    missing of it is made later. Nothing that is there is changed, and nothing stays.
    """
    if path is None:
        return
    try:
        fault = _kind_fault(path, folder=folder) or _place_fault(path, folder=folder)
    except OSError as error:
        fault = f"cannot be written: {error.strerror}; give another path or change its rights"
    if fault:
        raise InputError(f"{key}: {path} {fault}")


def _kind_fault(path: Path, *, folder: bool) -> str | None:
    """What is there and is not to be replaced."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if folder:
        return None if stat.S_ISDIR(mode) else "is a file; give a folder"
    if stat.S_ISDIR(mode):
        return "is a folder; give a file"
    return None if stat.S_ISREG(mode) else "is a pipe or device; give a file"


def _place_fault(path: Path, *, folder: bool) -> str | None:
    """Try a new file where the first new name of `path` would be."""
    new = path / "x" if folder else path
    while not new.parent.exists():
        new = new.parent
    if not new.parent.is_dir():
        return f"lies below {new.parent}, which is a file; give another path"
    trial = beside(new, "tmp")
    try:
        trial.touch(exist_ok=False)
    finally:
        trial.unlink(missing_ok=True)
    return None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved over it when the block ends without an error.

    The content reaches the disk before the move and the move before the end, so a crash or a
    full disk leaves the former file as it was, and a new one that was reported stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path, "tmp")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def clear_up(folder: Path) -> None:
    """Delete what killed writers left in a folder; only for the one process that writes there."""
    for path in [*folder.glob(".*")]:
        left = _LEFT.fullmatch(path.name)
        if left is None:
            continue
        if left[2] == "old" and not (folder / left[1]).exists():
            path.rename(folder / left[1])
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, conflict: str, log: Callable[[str], None]) -> Iterator[None]:
    """Hold a folder for this process; one that is made for that and stays empty is deleted.

    The lock ends with the process, however it ends, and processes that it forks do not have it.
    InputError, which begins with `conflict` and says who, when another one has it. Where a file
    system has no locks, `log` is told and the block runs without.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200).decode(errors="replace")
            raise InputError(
                f"{conflict}{holder and f' ({holder})'}; wait for it, stop it, or use another one"
            ) from None
        except OSError as error:
            log(f"{folder}: cannot be locked ({error.strerror}); let nothing else write there")
        with suppress(OSError):  # a full disk: the lock itself takes no room
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)
            if made:
                _delete_empty(folder, made)


def _lock_file(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / _LOCK).open("ab+", buffering=0)


def _delete_empty(folder: Path, made: list[Path]) -> None:
    """Delete a folder that holds its lock alone, and those `made` above it."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            for path in made:
                path.rmdir()


def is_locked(folder: Path) -> bool:
    """Whether a process holds a folder; False where that cannot be known."""
    try:
        with (folder / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or no locks
        return False
    return False


def _let_go() -> None:
    """Close what a fork has inherited: a loader process that outlives a kill must hold nothing."""
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


def beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{kind}")


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Let moves in a folder reach the disk too, where a folder can be opened and flushed."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def content_digest(content: bytes) -> str:
    """32 hexadecimal digits that tell contents apart (BLAKE2b)."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def file_digest(path: Path) -> str:
    """`content_digest` of a file's content; OSError when it cannot be read.

    A process reads a file once, and again when its size or time of change are others.
    """
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    return content_digest(path.read_bytes())
