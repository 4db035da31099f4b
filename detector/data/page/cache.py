"""Decoded pages on disk, shared by every training on a machine.

An entry holds one page as `read_image` gives it and `Preparation` prepares it, shrunk (by pixel
area) to a longest side when it is larger, raw, so that it is mapped into memory instead of decoded.
Its name is made from the content of the image file, the page of a PDF, the preparation and that
size, so an entry never changes:
any number of processes may read, write and remove entries without locks. Two that write the
same entry write the same bytes, each to its own file, moved into place whole; a removed entry
stays readable for those that have mapped it. The folder should be on a local disk.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detector.core.files import content_digest
from detector.core.geometry import Points, transform_points
from detector.data.page.flatten import Flattening
from detector.data.page.images import read_image
from detector.data.page.pdf import file_of
from detector.data.page.prepare import UNCHANGED, Preparation
from detector.data.page.preprocess import resize_affine

VERSION = 2  # of the entries; raise it when the same file would give other pixels
# magic, width, height, stored width and height, bytes of flattening, CRC of the rest, of these
_HEADER = struct.Struct("<8sIIIIIII")
_MAGIC = b"rcptpage"
_ROOM = 0.9  # a full cache is emptied to this share of its size, so that it is not full at once
_LOOK = 1 / 16  # share of its size written by a process before it looks what others wrote
_FRESH_S = 60.0  # entries used within this time are not marked as used again
_ABANDONED_S = 3600.0  # age of a half-written file that no process will finish

Image = NDArray[np.uint8]
Affine = NDArray[np.float64]


class ReadPage(NamedTuple):
    """A prepared page, `(H, W, 3)` uint8 RGB, perhaps shrunk, and the way there.

    affine: `(2, 3)` from points of the prepared page to those of `image`; None when it was not
        shrunk.
    flattening: how the page was laid flat before; None when it was not.
    """

    image: Image
    affine: Affine | None
    flattening: Flattening | None

    def move(self, points: Points) -> Points:
        """`(K, 2)` points of the image file in pixels of `image`."""
        flat = points if self.flattening is None else self.flattening.to_flat(points)
        return flat if self.affine is None else transform_points(flat, self.affine)


@dataclass(eq=False)
class PageCache:
    """Pages kept in `folder` up to `max_bytes` altogether.

    Beyond that the entries unused for longest are removed; each of several processes that
    write at once may add a sixteenth before it notices. Notes of 32 bytes for each image file
    come on top. When nothing can be written (full disk, no permission), pages are decoded as
    without a cache, and stderr says so once.
    """

    folder: Path
    max_bytes: int
    preparation: Preparation = UNCHANGED
    fill: tuple[int, int, int] = (0, 0, 0)  # what the preparation puts around a receipt
    _digests: dict[Path, tuple[int, int, str]] = field(default_factory=dict, repr=False)
    _checked: set[str] = field(default_factory=set, repr=False)
    _left: int = field(default=0, repr=False)  # bytes to write before the next look
    _writes: bool = field(default=True, repr=False)
    # In shared memory, so that the processes of a data loader warn once in all.
    _warned: torch.Tensor = field(
        default_factory=lambda: torch.zeros(1, dtype=torch.uint8).share_memory_(), repr=False
    )

    def read(self, path: Path, longest_side_px: int) -> ReadPage:
        """The page, prepared, with at most that longest side; read-only when it was cached.

        Raises InputError as `read_image` and the preparation do.
        """
        file = file_of(path)
        try:
            before = file.stat()
            digest = self._digest(file, before)
        except OSError:
            return self._prepared(path, longest_side_px)[0]  # which names the fault
        digest += path.name.removeprefix(file.name)  # which page of a PDF
        entry = self.folder / f"{digest}-{longest_side_px}-{VERSION}{self._suffix}.page"
        found = self._load(entry)
        if found is not None:
            return found
        page, size = self._prepared(path, longest_side_px)
        with suppress(FileNotFoundError):  # removed or replaced meanwhile: not what was hashed
            if self._writes and _stamp(file.stat()) == _stamp(before):
                self._store(entry, page, size)
        return page

    @cached_property
    def _suffix(self) -> str:
        """Of the names of entries: which preparation they went through."""
        done = self.preparation.identity
        return f"-{content_digest(f'{done} {self.fill}'.encode())}" if done else ""

    def _prepared(self, path: Path, longest_side_px: int) -> tuple[ReadPage, tuple[int, int]]:
        """The page and its (width, height) before it was shrunk."""
        image, flattening = self.preparation(read_image(path), self.fill)
        height, width = image.shape[:2]
        scale = longest_side_px / max(width, height)
        if scale >= 1:
            return ReadPage(image, None, flattening), (width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        stored: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        affine = resize_affine((width, height), size)
        return ReadPage(stored, affine, flattening), (width, height)

    def _digest(self, path: Path, stat: os.stat_result) -> str:
        """Of the file's bytes; remembered here and on disk by path, size and time of change."""
        size, changed = _stamp(stat)
        known = self._digests.get(path)
        if known is not None and known[:2] == (size, changed):
            return known[2]
        identity = f"{path.resolve()}\0{size}\0{changed}"
        note = self.folder / f"{content_digest(identity.encode())}.key"
        digest = _read_key(note)
        if digest is None:
            digest = content_digest(path.read_bytes())
            if self._writes:
                self._write(note, [digest.encode()])
        self._digests[path] = (size, changed, digest)
        return digest

    def _load(self, entry: Path) -> ReadPage | None:
        """The mapped entry; None, and no such file any more, when it is missing or damaged."""
        try:
            with entry.open("rb") as file:
                used = os.fstat(file.fileno()).st_mtime
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # an empty file cannot be mapped
            self._remove(entry)
            return None
        found = _unpack(data, check=entry.name not in self._checked)
        if found is None:
            self._remove(entry)
            return None
        self._checked.add(entry.name)
        if time.time() - used > _FRESH_S:
            with suppress(OSError):  # removed meanwhile, or not ours: reading goes on
                os.utime(entry)
        return found

    def _store(self, entry: Path, page: ReadPage, size: tuple[int, int]) -> None:
        pixels = np.ascontiguousarray(page.image)
        flattening = b""
        if page.flattening is not None:
            flattening = json.dumps(page.flattening.to_dict()).encode()
        total = _HEADER.size + pixels.nbytes + len(flattening)
        if total > self.max_bytes * _ROOM:
            return
        if total > self._left:
            free = self.max_bytes - self._make_room(total)
            self._left = min(free, max(total, int(self.max_bytes * _LOOK)))
        header = _header(pixels, flattening, size)
        if self._write(entry, [header, pixels.data, flattening]):
            self._left -= total
            self._checked.add(entry.name)

    def _write(self, path: Path, parts: list[bytes | memoryview]) -> bool:
        """Write a file whole or not at all; after a failure nothing more is written."""
        temporary = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.writelines(parts)
            temporary.replace(path)
            return True
        except OSError as error:
            self._writes = False
            if not self._warned.item():
                self._warned.fill_(1)
                message = f"data.cache: cannot write to {self.folder} ({error.strerror})"
                print(f"{message}; pages are decoded instead", file=sys.stderr, flush=True)
            return False
        finally:
            self._remove(temporary)

    def _make_room(self, coming: int) -> int:
        """Bytes in use, after removing the entries unused for longest if `coming` do not fit."""
        entries, used, now = [], 0, time.time()
        for file in list(self.folder.glob("*.page")) + list(self.folder.glob(".*.tmp")):
            try:
                stat = file.stat()
            except OSError:  # another process was faster
                continue
            if file.suffix == ".tmp":
                if now - stat.st_mtime > _ABANDONED_S:
                    self._remove(file)
                continue
            entries.append((stat.st_mtime_ns, stat.st_size, file))
            used += stat.st_size
        if used + coming > self.max_bytes:
            for _, size, file in sorted(entries):
                if used + coming <= self.max_bytes * _ROOM:
                    break
                self._remove(file)
                used -= size
        return used

    def _remove(self, path: Path) -> None:
        with suppress(OSError):  # a folder that cannot be written: the file stays unused
            path.unlink(missing_ok=True)


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


def _read_key(note: Path) -> str | None:
    try:
        text = note.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if len(text) == 32 and all(c in "0123456789abcdef" for c in text) else None


def _header(pixels: Image, flattening: bytes, size: tuple[int, int]) -> bytes:
    """For `pixels` that came from a prepared page of (width, height) `size`."""
    height, width = pixels.shape[:2]
    content = zlib.crc32(flattening, zlib.crc32(pixels.data))
    fields = _MAGIC, *size, width, height, len(flattening), content
    return _HEADER.pack(*fields, zlib.crc32(repr(fields).encode()))


def _unpack(data: mmap.mmap, *, check: bool) -> ReadPage | None:
    """The page of an entry's bytes; None for damage (in what follows the header, if `check`)."""
    if len(data) < _HEADER.size:
        return None
    *fields, header_crc = _HEADER.unpack_from(data)
    _, source_width, source_height, width, height, note, content_crc = fields
    if zlib.crc32(repr(tuple(fields)).encode()) != header_crc or fields[0] != _MAGIC:
        return None
    end = _HEADER.size + 3 * width * height
    if len(data) != end + note:
        return None
    if check and zlib.crc32(memoryview(data)[_HEADER.size :]) != content_crc:
        return None
    pixels = np.frombuffer(data, np.uint8, 3 * width * height, _HEADER.size)
    size = source_width, source_height
    return ReadPage(
        pixels.reshape(height, width, 3),
        None if size == (width, height) else resize_affine(size, (width, height)),
        Flattening.from_dict(json.loads(data[end:])) if note else None,
    )
