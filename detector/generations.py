"""The last two states of a training: the newer one that is whole is what it goes on from.

A write is atomic, but a disk may still give back other bytes than it was given. So the state before
the last is kept too, as a hard link: it costs its space and no time.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from detector.files import clear_up, replacing

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
BROKEN = "broken.safetensors"  # the last one that was set aside
CHECKSUM = "crc32"  # in the metadata of a file, see `checksum`


def has_state(folder: Path) -> bool:
    """Whether a training has kept a state in this checkpoint folder, readable or not."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def keep_previous(folder: Path) -> None:
    """Give the last state a second name, before a newer one takes its first."""
    last = folder / LAST
    if not last.exists():
        return  # it was set aside; the previous one is the newest that is whole
    with replacing(folder / PREVIOUS) as temporary:
        try:
            os.link(last, temporary)
        except OSError:  # a file system without links
            shutil.copy2(last, temporary)


def forget_states(folder: Path) -> None:
    """Delete what only a resume needs."""
    for name in (LAST, PREVIOUS, BROKEN):
        (folder / name).unlink(missing_ok=True)


def newest_state(folder: Path, log: Callable[[str], None]) -> Path | None:
    """The last state that is whole; None when a training must begin.

    A broken last one is set aside as `broken.safetensors`, and `log` is told what is used instead.
    What a killed training had begun to write is deleted.
    """
    clear_up(folder)
    faults: list[str] = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        fault = fault_of(path) if path.exists() else None
        if fault is None and path.exists():
            if faults:
                log(f"{'; '.join(faults)}; going on from {path}, the state before")
            return path
        if fault is not None:
            faults.append(f"{path} is broken ({fault})")
            with suppress(OSError):
                path.replace(folder / BROKEN)
    if faults:
        log(f"{'; '.join(faults)}; no whole state is left, so training begins again at epoch 1")
    return None


def fault_of(path: Path) -> str | None:
    """What is wrong with a safetensors file, read whole; None when its content is as written.

    Files from before there were checksums pass when their layout is right.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _fault(memoryview(content))
    except ValueError:
        return "it is empty"
    except OSError as error:
        return error.strerror or type(error).__name__


def _fault(content: memoryview) -> str | None:
    """Its layout: 8 bytes with the length of a JSON header, which has each tensor's place."""
    with content:
        start = 8 + int.from_bytes(content[:8], "little")
        if start > len(content):
            return "its header is cut off"
        try:
            header = json.loads(bytes(content[8:start]))
            metadata = header.pop("__metadata__", {})
            places = {name: entry["data_offsets"] for name, entry in header.items()}
            size = start + max((end for _, end in places.values()), default=0)
            if size != len(content):
                return f"it has {len(content)} bytes and should have {size}"
            if CHECKSUM not in metadata:
                return None
            parts = ((n, content[start + a : start + b]) for n, (a, b) in places.items())
            whole = checksum(parts) == metadata[CHECKSUM]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return "its header is not that of a safetensors file"
        return None if whole else "its content is not what was written"


def checksum(tensors: Iterable[tuple[str, memoryview]]) -> str:
    """A CRC-32 of named buffers, whatever their order: it finds damage, not forgery."""
    lines = sorted(f"{name} {zlib.crc32(data):08x}" for name, data in tensors)
    return f"{zlib.crc32(chr(10).join(lines).encode()):08x}"
