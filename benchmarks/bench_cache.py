"""What `data.cache` costs and saves a page, and what crops lose by what it keeps.

`python benchmarks/bench_cache.py [data=FOLDER] [pages=12] [page_px=2400] [side=1024] [rounds=3]`
reads the same pages, in turns, without a cache, into an empty one and from a full one: as training
takes them, in full or as means of squares, and as validation does, resized to a longest side of
`side`. Printed is processor time a page, the fastest of `rounds`.

Then crops of what is kept for training are compared with crops of pages in full: the ratio of
signal to noise, the mean gradient as a share of theirs, and the bytes of a page. Beside it stands
what pages kept at the size that the largest zoom shows, and no larger, would give. Without `data`,
receipts of `page_px` are drawn.
"""

from __future__ import annotations

import math
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bench_pipeline import given_or_drawn, samples
from numpy.typing import NDArray
from timing import best_times, run

from detector.data.crops.dataset import TrainingPages
from detector.data.labels.annotations import Page, read_image
from detector.data.page.cache import PageCache, read_page

DEFAULTS = {"data": None, "pages": 12, "page_px": 2400, "side": 1024, "rounds": 3}
CROPS = 6  # of each page

Image = NDArray[np.uint8]


def read_all(crops: TrainingPages, resized: bool, cache: PageCache | None) -> None:
    """Read every page, and a pixel of each part of the memory that it is mapped to."""
    for page in crops.pages:
        block = None if resized else crops.block(page)
        read_page(page.path, crops.preprocess, block, cache).image.reshape(-1)[::4096].sum()


def into_empty(crops: TrainingPages, resized: bool, root: Path) -> None:
    """The same into a new cache."""
    read_all(crops, resized, PageCache(Path(tempfile.mkdtemp(dir=root)), 10**11))


def compare_times(crops: TrainingPages, root: Path, rounds: int) -> None:
    """Print what reading a page takes."""
    print(f"{'ms of processor time':24} {'no cache':>9} {'written':>9} {'from it':>9}")
    full = PageCache(root / "full", 10**11)
    for name, resized in (("a page for training", False), ("one for validation", True)):
        read_all(crops, resized, full)
        calls = [
            partial(read_all, crops, resized, None),
            partial(into_empty, crops, resized, root),
            partial(read_all, crops, resized, full),
        ]
        found = best_times(calls, rounds, time.process_time)
        print(f"{name:24}", *(f"{1000 * s / len(crops.pages):9.1f}" for s in found))


def compare_crops(crops: TrainingPages) -> None:
    """Print how crops of kept pages differ from crops of pages in full."""
    ways = ("means of squares", "largest zoom")
    rows: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for page in crops.pages:
        image = read_image(page.path)
        means = crops.preprocess.prepare(image, crops.block(page)).image
        for way, kept in zip(ways, (means, shrunk(image, crops)), strict=True):
            for number in range(CROPS):
                full, other = (crop(part, page, crops, number) for part in (image, kept))
                noise = np.square(full - other).mean()
                share = gradient(other) / gradient(full)
                rows[way].append((10 * math.log10(255**2 / max(noise, 1e-2)), share, kept.nbytes))
    print(f"\n{'kept for training':24} {'dB':>9} {'gradient':>9} {'MB':>9}")
    for way, row in rows.items():
        ratio, share, size = np.mean(row, axis=0)
        print(f"{way:24} {ratio:9.1f} {share:9.3f} {size / 1e6:9.1f}")


def shrunk(image: Image, crops: TrainingPages) -> Image:
    """A page at the size that the largest zoom shows; as it is when that is larger."""
    height, width = image.shape[:2]
    scale = crops.augment.scale_max * crops.preprocess.scale(width, height)
    size = round(width * scale), round(height * scale)
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def crop(image: Image, page: Page, crops: TrainingPages, number: int) -> NDArray[np.float64]:
    """The same random crop of a page, however large that is kept."""
    scale = np.divide(image.shape[1::-1], (page.width, page.height)).astype(np.float32)
    words = [word.points * scale for word in page.words]
    return crops.augment(image, words, np.random.default_rng(number))[0].astype(np.float64)


def gradient(image: NDArray[np.float64]) -> float:
    return float(sum(np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)))


def main(options: dict[str, Any]) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        pages = given_or_drawn(options, Path(temporary))
        crops = samples(pages, options["side"], 640, None)
        compare_times(crops, Path(temporary), options["rounds"])
        compare_crops(crops)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
