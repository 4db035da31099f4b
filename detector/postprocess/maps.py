"""Probability maps of a split, written once and read as often as post-processing is tried.

A folder holds `maps.u16`, all maps one after the other as 16-bit levels, and `maps.json`, which
says where each begins and how it lies on its page. The JSON file is written last, so a folder
with one is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.core.errors import InputError, JobError
from detector.core.files import write_text
from detector.core.geometry import Points, transform_points
from detector.data.page.flatten import Flattening

DATA_NAME = "maps.u16"
INDEX_NAME = "maps.json"
LEVELS = 65535
_VERSION = 2


def quantize(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities at the precision maps are kept at, 1/65535.

    Whoever thresholds a fresh map takes it through this first, so that a kept map gives
    the very same boxes. NaN stays NaN.
    """
    return _probability(np.rint(probability * np.float32(LEVELS)))


def _probability(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    return levels * np.float32(1 / LEVELS)


def _levels(probability: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(probability * np.float32(LEVELS)).astype("<u2")


@dataclass(frozen=True)
class _Entry:
    """Where a map begins (in levels), its size, and how it lies on its page."""

    name: str
    start: int
    height: int
    width: int
    affine: list[list[float]]
    size: tuple[int, int]
    flattening: dict[str, Any] | None


@dataclass(frozen=True, eq=False)
class PageMap:
    """A page's map and how it lies on the page.

    probability: `(h, w)` float32.
    affine: `(2, 3)` float64, from page to map pixels; from the flattened page where there is
        a `flattening`.
    size: (width, height) of the page.
    """

    name: str
    probability: NDArray[np.float32]
    affine: NDArray[np.float64]
    size: tuple[int, int]
    flattening: Flattening | None = None

    def to_map(self, points: ArrayLike) -> Points:
        """`(K, 2)` points of the page in pixels of the map."""
        flat = points if self.flattening is None else self.flattening.to_flat(points)
        return transform_points(flat, self.affine)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled at the precision of `quantize`: half the bytes, and of its maps the very same.

        Raises JobError for values that are not finite, which have no level.
        """
        if not np.isfinite(self.probability).all():
            raise JobError(f"{self.name}: its probability map has values that are not finite")
        levels = _levels(self.probability)
        return _of_levels, (self.name, levels, self.affine, self.size, self.flattening)


def _of_levels(name: str, levels: NDArray[np.uint16], *place: Any) -> PageMap:
    return PageMap(name, _probability(levels.astype(np.float32)), *place)


class MapWriter:
    """Appends maps to the files of a folder until all are there or one cannot be written.

    `failure` then says why: a full disk must not cost the scores of an evaluation that keeps
    its maps. Maps are written with ordinary writes, never through a memory map, where a full
    disk would end the process.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.failure: JobError | None = None
        self._folder = folder
        self._identity = identity
        self._entries: list[_Entry] = []
        self._end = 0  # of the maps written, in levels
        self._complete = False
        self._file: BinaryIO | None = None
        self._attempt(self._open)

    def add(self, page_map: PageMap) -> None:
        """Append a `quantize`d map; nothing after a failure."""
        self._attempt(lambda: self._append(page_map))

    def finish(self) -> None:
        """Write the index, which makes the folder complete."""
        self._attempt(self._write_index)

    def close(self) -> None:
        """Close the file, and remove it unless the folder is complete."""
        if self._file is not None:
            with suppress(OSError):  # a last flush to a full disk
                self._file.close()
        if self._file is not None and not self._complete:
            (self._folder / DATA_NAME).unlink(missing_ok=True)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / INDEX_NAME).unlink(missing_ok=True)
        self._file = (self._folder / DATA_NAME).open("wb")

    def _append(self, page_map: PageMap) -> None:
        assert self._file is not None
        levels = _levels(page_map.probability)
        self._file.write(levels.tobytes())
        height, width = levels.shape
        entry = _Entry(
            name=page_map.name,
            start=self._end,
            height=height,
            width=width,
            affine=page_map.affine.tolist(),
            size=page_map.size,
            flattening=None if page_map.flattening is None else page_map.flattening.to_dict(),
        )
        self._entries.append(entry)
        self._end += height * width

    def _write_index(self) -> None:
        assert self._file is not None
        self._file.flush()
        pages = [asdict(entry) for entry in self._entries]
        index = {"version": _VERSION, "identity": self._identity, "pages": pages}
        write_text(self._folder / INDEX_NAME, json.dumps(index))
        self._complete = True

    def _attempt(self, step: Callable[[], None]) -> None:
        if self.failure is not None:
            return
        try:
            step()
        except OSError as error:
            written = self._end * 2 / 2**20
            self.failure = JobError(
                f"{self._folder}: probability maps cannot be kept: {error.strerror} after "
                f"{written:.0f} MiB; free some space or use another folder"
            )


@contextmanager
def writing_maps(folder: Path, *, identity: str = "") -> Iterator[MapWriter]:
    """Fill a folder with maps: complete when the block ends, emptied after an error.

    `identity` says whose maps these are; `PageMaps` asks for it again.
    """
    writer = MapWriter(folder, identity)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()


def has_maps(folder: Path) -> bool:
    """Whether maps were written to a folder, all of them."""
    return (folder / INDEX_NAME).is_file()


class PageMaps:
    """The maps of a folder, read through a memory map one page at a time.

    Raises InputError when the folder is not complete or holds the maps of another `identity`.
    """

    def __init__(self, folder: Path, *, identity: str = "") -> None:
        try:
            index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
            self._entries = [_Entry(**p | {"size": tuple(p["size"])}) for p in index["pages"]]
            total = sum(e.height * e.width for e in self._entries)
            if index["version"] != _VERSION or (folder / DATA_NAME).stat().st_size != 2 * total:
                raise ValueError("its files do not belong together")
            if index["identity"] != identity:
                raise ValueError("they are of other weights or pages")
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise InputError(
                f"{folder}: holds no probability maps to use ({error}); give an empty folder"
            ) from None
        self._levels: NDArray[np.uint16] = (
            np.memmap(folder / DATA_NAME, dtype="<u2", mode="r")
            if total
            else np.zeros(0, np.uint16)
        )

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PageMap]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> PageMap:
        entry = self._entries[index]
        levels = self._levels[entry.start : entry.start + entry.height * entry.width]
        probability = _probability(levels.astype(np.float32)).reshape(entry.height, entry.width)
        flat = None if entry.flattening is None else Flattening.from_dict(entry.flattening)
        return PageMap(entry.name, probability, np.array(entry.affine), entry.size, flat)
