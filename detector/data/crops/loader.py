"""Training crops, batch after batch, through all epochs of a training."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from detector.core.device import keep_freed_memory
from detector.data.crops.batch import PackedBatch, collate
from detector.data.crops.dataset import TrainingPages


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of `count` pages in an epoch: a permutation fixed by (seed, epoch)."""
    return [int(i) for i in np.random.default_rng([seed, epoch]).permutation(count)]


@dataclass(frozen=True)
class _Batches(Sampler[list[tuple[int, int]]]):
    """The (epoch, page) of each crop of each batch, of which `share` are this process's."""

    pages: int
    batch_size: int
    epochs: range
    seed: int
    share: slice

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in self.epochs:
            order = [(epoch, page) for page in epoch_order(self.pages, self.seed, epoch)]
            for start in range(0, self.pages, self.batch_size):
                yield order[start : start + self.batch_size][self.share]


def training_batches(
    dataset: TrainingPages,
    *,
    batch_size: int,
    workers: int,
    epochs: range,
    seed: int,
    pin_memory: bool,
    rank: int = 0,
    world: int = 1,
) -> Generator[PackedBatch, None, None]:
    """The batches of these epochs, counted from 0; the last one of each may be smaller.

    The loader processes live through all of them, and while nothing is taken, as in a validation,
    they work ahead. Batches are the same to the bit for any number of workers, and after a resume.
    With several processes each batch is dealt crop by crop, and process `rank` of `world` gets its
    share of every batch, which may be empty. Torch's global random state is not used.
    """
    yield from DataLoader(
        dataset,
        batch_sampler=_Batches(len(dataset), batch_size, epochs, seed, slice(rank, None, world)),
        num_workers=workers,
        collate_fn=partial(collate, fill=dataset.augment.fill),
        pin_memory=pin_memory,
        worker_init_fn=init_worker,
        generator=torch.Generator().manual_seed(seed),
    )


def init_worker(_worker: int) -> None:
    """One thread per loader process: the processes are the parallelism.

    Each makes and frees the same arrays for every crop, so it keeps their memory.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
