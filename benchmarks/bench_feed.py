"""Training crops a second that reach a trainer through loader processes.

`python benchmarks/bench_feed.py [data=FOLDER] [pages=64] [page_px=1280] [side=1024]
[crop=640] [batch=16] [workers=2] [epochs=4] [rounds=3]` takes the batches of some epochs from pages
in a filled `data.cache`, in turns

- as floats: crops are normalised and their four label maps are float32 in the loader processes,
  which are started anew for each epoch, the way of most trainers;
- as bytes: `detector.data.crops.loader`, whose processes live through all epochs.

Without `data`, receipts are drawn. Printed are crops a second, and bytes a crop.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bench_pipeline import given_or_drawn, samples
from timing import best_times, run
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detector.core.errors import InputError
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.loader import epoch_order, training_batches

DEFAULTS = {
    "data": None,
    "pages": 64,
    "page_px": 1280,
    "side": 1024,
    "crop": 640,
    "batch": 16,
    "workers": 2,
    "epochs": 4,
    "rounds": 3,
}


class Floats(Dataset[tuple[Tensor, Tensor]]):
    """The crops of an epoch as `(3, H, W)` normalised and `(4, H, W)` label maps, float32."""

    def __init__(self, crops: TrainingPages, epoch: int) -> None:
        self.crops, self.epoch = crops, epoch

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, targets = self.crops.crop(self.epoch, index)
        maps = targets.shrink, targets.shrink_mask, targets.threshold, targets.threshold_mask
        floats = np.empty((len(maps), *targets.shrink.shape), np.float32)
        for canvas, found in zip(floats, maps, strict=True):
            canvas[:] = found
        return self.crops.preprocess.normalize(image), torch.from_numpy(floats)


def one_thread(_worker: int) -> None:
    """One thread per loader process."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def as_floats(crops: TrainingPages, options: dict[str, Any]) -> Iterator[Sequence[Tensor]]:
    """The batches of all epochs, by a loader that is made for each."""
    for epoch in range(options["epochs"]):
        yield from DataLoader(
            Floats(crops, epoch),
            batch_size=options["batch"],
            sampler=epoch_order(len(crops), 0, epoch),
            num_workers=options["workers"],
            worker_init_fn=one_thread,
        )


def as_bytes(crops: TrainingPages, options: dict[str, Any]) -> Iterator[Sequence[Tensor]]:
    """The same crops by this project's loader."""
    for batch in training_batches(
        crops,
        batch_size=options["batch"],
        workers=options["workers"],
        epochs=range(options["epochs"]),
        seed=0,
        pin_memory=False,
    ):
        yield batch.images, batch.threshold, batch.masks


def compare(crops: TrainingPages, options: dict[str, Any]) -> None:
    """Time both and print a table."""
    ways = {"as floats": as_floats, "as bytes": as_bytes}
    count, taken = len(crops), options["epochs"] * len(crops)
    size = {name: bytes_of(next(iter(way(crops, options)))) for name, way in ways.items()}

    def through(way: Callable[..., Iterator[Sequence[Tensor]]]) -> Callable[[], None]:
        def take() -> None:
            if sum(len(batch[0]) for batch in way(crops, options)) != taken:
                raise InputError(f"data: some of the {count} pages cannot be read")

        return take

    times = best_times([through(way) for way in ways.values()], options["rounds"])
    rates = [taken / seconds for seconds in times]
    print(f"{count} pages in {options['epochs']} epochs, crops of {options['crop']} px,", end=" ")
    print(f"{options['workers']} loader processes, best of {options['rounds']} rounds")
    print(f"{'':10} {'crops/s':>8} {'ratio':>6} {'MB a crop':>10}")
    for name, rate in zip(ways, rates, strict=True):
        print(f"{name:10} {rate:8.1f} {rate / rates[0]:5.1f}x {size[name] / 1e6:10.2f}")


def bytes_of(batch: Sequence[Tensor]) -> float:
    """Of one crop of a batch."""
    return sum(tensor.nbytes for tensor in batch) / len(batch[0])


def main(options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        pages = given_or_drawn(options, Path(temporary))
        crops = samples(pages, options["side"], options["crop"], Path(temporary) / "cache")
        for index in range(len(crops)):
            crops.crop(0, index)
        compare(crops, options)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
