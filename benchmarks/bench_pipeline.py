"""Training samples per second: decode, augment and label maps, in one process.

`python benchmarks/bench_pipeline.py [data=FOLDER] [pages=12] [page_px=1280] [side=1024]
[crop=640] [rounds=3]` runs the same pages, in turns, through the usual chain of separate steps,
ours and ours with `data.cache` (filled before). Without `data`, receipts of `page_px` are drawn
into a temporary folder. The chain decodes the page, resizes it, pads it, rotates it, crops it,
shifts its colours, draws its label maps word by word (`bench_targets.loop`) and normalises it.
Zoom, rotation, crop and colours are drawn from the same ranges; all use one thread. A second
table has what each augmentation that is off by default adds to every crop that it is done to.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bench_targets import loop
from numpy.typing import NDArray
from PIL import Image, ImageOps
from timing import best_times, run

from detector.config.settings import AugmentConfig
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import read_split
from detector.data.labels.pages import Page
from detector.data.page.cache import PageCache
from detector.data.page.preprocess import Preprocess
from detector.data.synthetic.receipts import synthesize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULTS = {"data": None, "pages": 12, "page_px": 1280, "side": 1024, "crop": 640, "rounds": 3}
RANGES = AugmentConfig(perspective=0.0, saturation=0.0)  # what the chain has, too
EXTRA = ("shadow", "blur", "noise", "jpeg", "clahe", "equalize", "paste")  # probabilities
ADDED = {name: {name: 1.0} for name in EXTRA} | {
    "gamma": {"gamma": 0.3},
    "crumple": {"crumple": 0.02},
}


def chain(page: Page, side: int, crop: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """One sample by separate steps: image `(3, crop, crop)` and the three maps."""
    image = np.array(ImageOps.exif_transpose(Image.open(page.path)).convert("RGB"))
    words = [word.points.astype(np.float64) for word in page.words]
    zoom = RANGES.scale_min * (RANGES.scale_max / RANGES.scale_min) ** rng.random()
    scale = side * zoom / max(image.shape[:2])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    down, right = (max(0, crop - n) for n in image.shape[:2])
    image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT)
    height, width = image.shape[:2]
    angle = (2 * rng.random() - 1) * RANGES.rotate_deg
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    image = cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR)
    x, y = int(rng.integers(0, width - crop + 1)), int(rng.integers(0, height - crop + 1))
    image = image[y : y + crop, x : x + crop]
    words = [word * scale @ turn[:, :2].T + turn[:, 2] - [x, y] for word in words]
    words = [w for w in words if (w.max(axis=0) > 1).all() and (w.min(axis=0) < crop - 1).all()]
    words = [w for w in words if min(cv2.minAreaRect(w.astype(np.float32))[1]) > 3]
    gain = 1 + (2 * rng.random() - 1) * RANGES.contrast
    shift = 255 * (2 * rng.random() - 1) * RANGES.brightness
    image = np.clip(image.astype(np.float32) * gain + shift, 0, 255).astype(np.uint8)
    maps = loop_or_nothing(words, crop)
    mean, std = (255 * np.array(v, np.float32) for v in (MEAN, STD))
    scaled = (image.astype(np.float32) - mean) / std
    pixels = torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))
    return [pixels, *(torch.from_numpy(m) for m in maps)]


def loop_or_nothing(words: Sequence[NDArray[np.float64]], crop: int) -> Sequence[NDArray]:
    """The label maps word by word; the clipper raises on a word whose corners coincide."""
    usable = [w for w in words if len(np.unique(w.astype(int), axis=0)) > 2]
    return loop(usable, crop, crop)


def given_or_drawn(options: Mapping[str, Any], temporary: Path) -> Sequence[Page]:
    """`pages` training pages of the dataset `data`, or as many drawn receipts of `page_px`."""
    root = Path(options["data"] or temporary / "receipts")
    if options["data"] is None:
        drawn = options["page_px"]
        synthesize(root, images=options["pages"], val_images=0, seed=0, longest_side_px=drawn)
    return read_split(root, "train", limit=options["pages"]).pages


def samples(
    pages: Sequence[Page], side: int, crop: int, cache: Path | None, **changes: float
) -> TrainingPages:
    """The same by this project, from a cache in the folder `cache` if there is one.

    changes: of the settings of `augment`.
    """
    augment = Augment(longest_side_px=side, **(RANGES.model_dump() | {"crop_px": crop} | changes))
    preprocess = Preprocess(side, MEAN, STD)
    kept = None if cache is None else PageCache(cache, 10**11)
    return TrainingPages(pages, augment, preprocess, seed=0, cache=kept)


def compare(pages: Sequence[Page], side: int, crop: int, rounds: int, cache: Path) -> None:
    """Time all three and print a table."""
    rng, count = np.random.default_rng(0), len(pages)
    plain, cached = samples(pages, side, crop, None), samples(pages, side, crop, cache)
    for i in range(count):
        cached.crop(0, i)

    def theirs() -> None:
        for page in pages:
            chain(page, side, crop, rng)

    times = best_times([theirs, epochs_of(plain), epochs_of(cached)], rounds)
    rates = [count / seconds for seconds in times]
    width, height = (round(float(np.mean([getattr(p, n) for p in pages]))) for n in _SIZE)
    words = sum(len(page.words) for page in pages) / count
    print(f"{count} pages, {width} x {height} px and {words:.0f} words on average")
    print(f"longest side {side}, crop {crop}, one process, best of {rounds} rounds")
    print(f"{'':16} {'samples/s':>10} {'ms':>7} {'ratio':>6}")
    for name, rate in zip(("separate steps", "ours", "ours, cached"), rates, strict=True):
        print(f"{name:16} {rate:10.1f} {1000 / rate:7.1f} {rate / rates[0]:5.1f}x")


def epochs_of(dataset: TrainingPages) -> Callable[[], None]:
    """Takes all samples of the next epoch, counted from 1."""
    epochs = itertools.count(1)

    def epoch() -> None:
        number = next(epochs)
        for i in range(len(dataset)):
            dataset[number, i]

    return epoch


def compare_added(pages: Sequence[Page], side: int, crop: int, rounds: int, cache: Path) -> None:
    """Time each augmentation beside none of them, from a filled cache, and print a table."""
    ways: dict[str, dict[str, Any]] = {"none of these": {}} | ADDED
    found = [samples(pages, side, crop, cache, **changes) for changes in ways.values()]
    times = best_times([epochs_of(dataset) for dataset in found], rounds)
    print(f"\n{'done to each crop':16} {'ms more':>10} {'ratio':>6}")
    for name, seconds in zip(ways, times, strict=True):
        more = 1000 * (seconds - times[0]) / len(pages)
        print(f"{name:16} {more:10.1f} {seconds / times[0]:5.2f}x")


_SIZE = ("width", "height")


def main(options: dict[str, Any]) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    side, crop = options["side"], options["crop"]
    with tempfile.TemporaryDirectory() as temporary:
        pages = given_or_drawn(options, Path(temporary))
        for table in (compare, compare_added):
            table(pages, side, crop, options["rounds"], Path(temporary) / "cache")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
