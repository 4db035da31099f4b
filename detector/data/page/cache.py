"""Prepared pages on disk, shared by every training on a machine.

An entry holds one page as `Preprocess.prepare` gives it, raw, so that it is mapped into memory
instead of decoded and prepared. Its name is made from the content of the image file, the page of a
PDF, what was done to it and the code that did it, so an entry never changes:
any number of processes may read, write and remove entries without locks. Two that write the
same entry write the same bytes, each to its own file, moved into place whole; a removed entry
stays readable for those that have mapped it. The folder should be on a local disk.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import struct
import sys
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from detector.core.files import content_digest
from detector.data.page.flatten import Flattening
from detector.data.page.images import read_image
from detector.data.page.pdf import file_of
from detector.data.page.preprocess import Prepared, Preprocess

# magic, width and height as read, width and height stored, bytes of flattening, the affine, CRC of
# the rest; and the CRC of these
_HEADER = struct.Struct("<8s5I6dI")
_CRC = struct.Struct("<I")
_START = _HEADER.size + _CRC.size
_MAGIC = b"rcptpage"
_ROOM = 0.9  # a full cache is emptied to this share of its size, so that it is not full at once
_LOOK = 1 / 16  # share of its size written by a process before it looks what others wrote
_FRESH_S = 60.0  # entries used within this time are not marked as used again
_ABANDONED_S = 3600.0  # age of a half-written file that no process will finish


@dataclass(eq=False)
class PageCache:
    """Pages kept in `folder` up to `max_bytes` altogether.

    Beyond that the entries unused for longest are removed, but for those used since this object was
    made: pages come in another order in every epoch, so one that made room for another would soon
    be wanted again. By the same time of use an entry is checked for damage once in a training,
    however many processes and epochs that has. Each of several processes that write at once may add
    a sixteenth before it notices. Notes of 32 bytes for each image file come on top. When nothing
    can be written (full disk, no permission), pages are decoded as without a cache, and stderr says
    so once.
    """

    folder: Path
    max_bytes: int
    _digests: dict[Path, tuple[int, int, str]] = field(default_factory=dict, repr=False)
    _made: float = field(default_factory=time.time, repr=False)
    _left: int = field(default=0, repr=False)  # bytes to write, or not to, before the next look
    _full: bool = field(default=False, repr=False)
    _writes: bool = field(default=True, repr=False)
    # In shared memory, so that the processes of a data loader warn once in all.
    _warned: torch.Tensor = field(
        default_factory=lambda: torch.zeros(1, dtype=torch.uint8).share_memory_(), repr=False
    )

    def read(self, path: Path, preprocess: Preprocess, block: int | None = None) -> Prepared:
        """The page of an image file as `preprocess.prepare` gives it, to the bit.

        Raises InputError as `read_image` and that do.
        """
        file = file_of(path)
        try:
            before = file.stat()
            entry = self._entry(path, self._digest(file, before), preprocess, block)
        except OSError:
            return preprocess.prepare(read_image(path), block)  # which names the fault
        found = self._load(entry)
        if found is not None:
            return found
        page = preprocess.prepare(read_image(path), block)
        with suppress(FileNotFoundError):  # removed or replaced meanwhile: not what was hashed
            if self._writes and _stamp(file.stat()) == _stamp(before):
                self._store(entry, page)
        return page

    def holds(self, path: Path, preprocess: Preprocess) -> bool:
        """Whether there is an entry of an image file, which `read` then only has to map."""
        file = file_of(path)
        try:
            digest = self._known_digest(file, file.stat())
        except OSError:
            return False
        return digest is not None and self._entry(path, digest, preprocess, None).is_file()

    def _entry(self, path: Path, digest: str, preprocess: Preprocess, block: int | None) -> Path:
        which = digest + path.name.removeprefix(file_of(path).name)  # which page of a PDF
        done = f"{preprocess.identity(block)} {_made_by()}"
        return self.folder / f"{which}-{content_digest(done.encode())}.page"

    def _digest(self, path: Path, stat: os.stat_result) -> str:
        """Of the file's bytes; remembered here and on disk by path, size and time of change."""
        digest = self._known_digest(path, stat)
        if digest is None:
            digest = content_digest(path.read_bytes())
            if self._writes:
                self._write(self._note(path, stat), [digest.encode()])
            self._digests[path] = (*_stamp(stat), digest)
        return digest

    def _known_digest(self, path: Path, stat: os.stat_result) -> str | None:
        known = self._digests.get(path)
        if known is not None and known[:2] == _stamp(stat):
            return known[2]
        digest = _read_key(self._note(path, stat))
        if digest is not None:
            self._digests[path] = (*_stamp(stat), digest)
        return digest

    def _note(self, path: Path, stat: os.stat_result) -> Path:
        size, changed = _stamp(stat)
        identity = f"{path.resolve()}\0{size}\0{changed}"
        return self.folder / f"{content_digest(identity.encode())}.key"

    def _load(self, entry: Path) -> Prepared | None:
        """The mapped entry; None, and no such file any more, when it is missing or damaged.

        What is written into its pixels stays in this process.
        """
        try:
            with entry.open("rb") as file:
                used = os.fstat(file.fileno()).st_mtime
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # an empty file cannot be mapped
            self._remove(entry)
            return None
        # What was used since is checked, by whichever process of whichever training used it.
        first = used < self._made
        found = _unpack(data, check=first)
        if found is None:
            self._remove(entry)
            return None
        if first or time.time() - used > _FRESH_S:
            with suppress(OSError):  # removed meanwhile, or not ours: reading goes on
                os.utime(entry)
        return found

    def _store(self, entry: Path, page: Prepared) -> None:
        pixels = np.ascontiguousarray(page.image)
        flattening = b""
        if page.flattening is not None:
            flattening = json.dumps(page.flattening.to_dict()).encode()
        total = _START + pixels.nbytes + len(flattening)
        if total > self.max_bytes * _ROOM:
            return
        if total > self._left:
            free, step = self.max_bytes - self._make_room(total), int(self.max_bytes * _LOOK)
            self._full = free < total
            self._left = max(total, step if self._full else min(free, step))
        self._left -= total
        if self._full:
            return
        header = _header(page, pixels, flattening)
        self._write(entry, [header, pixels.data, flattening])

    def _write(self, path: Path, parts: list[bytes | memoryview]) -> None:
        """Write a file whole or not at all; after a failure nothing more is written."""
        temporary = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.writelines(parts)
            temporary.replace(path)
        except OSError as error:
            self._writes = False
            if not self._warned.item():
                self._warned.fill_(1)
                message = f"data.cache: cannot write to {self.folder} ({error.strerror})"
                print(f"{message}; pages are decoded instead", file=sys.stderr, flush=True)
        finally:
            self._remove(temporary)

    def _make_room(self, coming: int) -> int:
        """Bytes in use, after removing the entries unused for longest if `coming` do not fit."""
        now = time.time()
        for file in self.folder.glob(".*.tmp"):
            with suppress(OSError):  # another process was faster
                if now - file.stat().st_mtime > _ABANDONED_S:
                    self._remove(file)
        entries = _entries(self.folder)
        used = sum(size for _, size, _ in entries)
        if used + coming > self.max_bytes:
            for last, size, file in sorted(entries):
                if used + coming <= self.max_bytes * _ROOM or last >= self._made:
                    break
                self._remove(file)
                used -= size
        return used

    def _remove(self, path: Path) -> None:
        with suppress(OSError):  # a folder that cannot be written: the file stays unused
            path.unlink(missing_ok=True)


def half_of_disk(folder: Path) -> int:
    """Half of the bytes that the disk of a folder would have free without the entries in it."""
    return (shutil.disk_usage(folder).free + sum(size for _, size, _ in _entries(folder))) // 2


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    """When each entry was last used, its size and its file."""
    found = []
    for file in folder.glob("*.page"):
        with suppress(OSError):  # another process was faster
            stat = file.stat()
            found.append((stat.st_mtime, stat.st_size, file))
    return found


def read_page(
    path: Path, preprocess: Preprocess, block: int | None = None, cache: PageCache | None = None
) -> Prepared:
    """The page of an image file as `preprocess.prepare` gives it, from a cache if there is one."""
    if cache is not None:
        return cache.read(path, preprocess, block)
    return preprocess.prepare(read_image(path), block)


@lru_cache
def _made_by() -> str:
    """Names what decides the pixels of a page: the code of this room, and what decodes for it."""
    code = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return f"{content_digest(code)} {PIL.__version__} {cv2.__version__}"


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


def _read_key(note: Path) -> str | None:
    try:
        text = note.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if len(text) == 32 and all(c in "0123456789abcdef" for c in text) else None


def _header(page: Prepared, pixels: NDArray[np.uint8], flattening: bytes) -> bytes:
    height, width = pixels.shape[:2]
    content = zlib.crc32(flattening, zlib.crc32(pixels.data))
    sizes = *page.size, width, height, len(flattening)
    header = _HEADER.pack(_MAGIC, *sizes, *page.affine.ravel().tolist(), content)
    return header + _CRC.pack(zlib.crc32(header))


def _unpack(data: mmap.mmap, *, check: bool) -> Prepared | None:
    """The page of an entry's bytes; None for damage (in what follows the header, if `check`)."""
    if len(data) < _START:
        return None
    magic, *fields, content = _HEADER.unpack_from(data)
    if zlib.crc32(data[: _HEADER.size]) != _CRC.unpack_from(data, _HEADER.size)[0]:
        return None
    size, (width, height, note), affine = tuple(fields[:2]), fields[2:5], fields[5:]
    end = _START + 3 * width * height
    if magic != _MAGIC or len(data) != end + note:
        return None
    if check and zlib.crc32(memoryview(data)[_START:]) != content:
        return None
    return Prepared(
        np.frombuffer(data, np.uint8, 3 * width * height, _START).reshape(height, width, 3),
        np.reshape(affine, (2, 3)),
        size,
        Flattening.from_dict(json.loads(data[end:])) if note else None,
    )
