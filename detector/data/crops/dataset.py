"""Pages as training samples and evaluation items, and how they become batches."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset

from detector.core.errors import InputError
from detector.core.geometry import Box, Points, text_box
from detector.data.crops.targets import make_targets
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import Page, read_image
from detector.data.page.cache import PageCache, ReadPage
from detector.data.page.preprocess import Prepared, Preprocess


@dataclass(frozen=True, eq=False)
class Sample:
    """One training crop, or, for a page that cannot be used, the reason alone.

    `image` is (3, H, W) float32, normalised. `maps` is (4, H, W) float32: shrink, shrink
    mask, threshold, threshold mask.
    """

    name: str
    image: Tensor | None
    maps: Tensor | None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class WholePage:
    """One page for the network, or, for an image that cannot be read, the reason alone."""

    index: int
    page: Prepared | None
    error: str = ""


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops with their label maps; `broken` says which pages are missing and why.

    `images` is (N, 3, H, W) float32, normalised; the maps are (N, 1, H, W) float32. N is 0
    when no page of the batch could be used.
    """

    images: Tensor
    shrink: Tensor
    shrink_mask: Tensor
    threshold: Tensor
    threshold_mask: Tensor
    names: list[str]
    broken: list[str]

    def to(self, device: torch.device | str, channels_last: bool = False) -> Batch:
        """The batch on `device`; from pinned memory the copies overlap with computing."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return replace(
            self,
            images=self.images.to(device, non_blocking=True, memory_format=layout),
            shrink=self.shrink.to(device, non_blocking=True),
            shrink_mask=self.shrink_mask.to(device, non_blocking=True),
            threshold=self.threshold.to(device, non_blocking=True),
            threshold_mask=self.threshold_mask.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the DataLoader calls this."""
        return replace(
            self,
            images=self.images.pin_memory(),
            shrink=self.shrink.pin_memory(),
            shrink_mask=self.shrink_mask.pin_memory(),
            threshold=self.threshold.pin_memory(),
            threshold_mask=self.threshold_mask.pin_memory(),
        )


class TrainingPages(Dataset[Sample]):
    """Augmented crops. A sample depends on (seed, epoch, index) and on nothing else.

    Args:
        pages: the split.
        augment: draws the crop. Its `fill` is replaced by the mean colour of `preprocess`,
            so that the outside of a page looks as it does at evaluation.
        preprocess: prepares the page, crops it to its words and normalises the crop.
        seed: of all random choices.
        shrink_ratio, threshold_min, threshold_max, min_side_px: see `make_targets`.
        cache: where prepared pages are kept. It shrinks pages that are larger than
            `largest_side_px`; the same random numbers then give the same crop up to the
            rounding of the page's sides, from pixels resampled twice and so a little softer
            (mean gradient 0.93 of uncached for 2400 px pages at the default settings).
            Smaller pages, and all without a cache, give the same bits.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        augment: Augment,
        preprocess: Preprocess,
        *,
        seed: int,
        shrink_ratio: float = 0.4,
        threshold_min: float = 0.3,
        threshold_max: float = 0.7,
        min_side_px: float = 3.0,
        cache: PageCache | None = None,
    ) -> None:
        self.pages = tuple(pages)
        self.augment = replace(augment, fill=preprocess.fill)
        self.preprocess = preprocess
        self.seed = seed
        self.epoch = 0
        self.cache = cache
        self.make_targets = partial(
            make_targets,
            shrink_ratio=shrink_ratio,
            threshold_min=threshold_min,
            threshold_max=threshold_max,
            min_side_px=min_side_px,
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the random numbers of epoch `epoch`, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pages)

    def __getitem__(self, index: int) -> Sample:
        page = self.pages[index]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        try:
            read = self._read(page)
        except InputError as error:
            return Sample(page.name, None, None, str(error))
        image, polygons = self._cropped(read.image, [read.move(w.points) for w in page.words])
        ignore = [word.ignore for word in page.words]
        try:
            crop, polygons, _ = self.augment(image, polygons, rng)
            targets = self.make_targets(polygons, ignore, *crop.shape[:2])
        except InputError as error:
            return Sample(page.name, None, None, f"{page.path}: {error}")
        maps = torch.from_numpy(targets.stacked)
        return Sample(page.name, self.preprocess.normalize(crop), maps)

    def _read(self, page: Page) -> ReadPage:
        if self.cache is not None:
            return self.cache.read(page.path, self.largest_side_px(page))
        image, flattening = self.preprocess.preparation(read_image(page.path), self.augment.fill)
        return ReadPage(image, None, flattening)

    def largest_side_px(self, page: Page) -> int:
        """Longest side of a page at the largest zoom: more pixels than that are never seen."""
        box = self._text_box([word.points for word in page.words], (page.width, page.height))
        x0, y0, x1, y1 = box or (0, 0, page.width, page.height)
        scale = self.augment.scale_max * self.preprocess.scale(x1 - x0, y1 - y0)
        return math.ceil(scale * max(page.width, page.height) - 1e-6)

    def _cropped(
        self, image: NDArray[np.uint8], polygons: list[Points]
    ) -> tuple[NDArray[np.uint8], list[Points]]:
        """The part of a page with its words, as annotated, where pages are cropped."""
        box = self._text_box(polygons, (image.shape[1], image.shape[0]))
        if box is None:
            return image, polygons
        x0, y0, x1, y1 = box
        return image[y0:y1, x0:x1], [p - np.array([x0, y0], np.float32) for p in polygons]

    def _text_box(self, polygons: Sequence[Points], size: tuple[int, int]) -> Box | None:
        margin = self.preprocess.crop_margin
        return None if margin is None else text_box(polygons, size, margin)


class WholePages(Dataset[WholePage]):
    """Image files as `preprocess` prepares them, in the order given."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths = tuple(paths)
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> WholePage:
        try:
            image = read_image(self.paths[index])
        except InputError as error:
            return WholePage(index, None, str(error))
        return WholePage(index, self.preprocess.prepare(image))


def whole_page_loader(
    paths: Sequence[Path], preprocess: Preprocess, *, workers: int, batch_size: int = 1
) -> DataLoader[list[WholePage]]:
    """Yields lists of `batch_size` prepared pages, in the order of `paths`."""
    return DataLoader(
        WholePages(paths, preprocess),  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=init_worker,
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch of the usable samples, in order; the others are named in `broken`.

    Crops of different sizes are padded right and below: images with 0, and the masks with 0
    too, so that the loss of a page does not depend on its neighbours in the batch.
    """
    usable = [(s.name, s.image, s.maps) for s in samples if s.image is not None]
    images = [image for _, image, _ in usable]
    maps = [m for _, _, m in usable if m is not None]
    height = max((image.shape[1] for image in images), default=0)
    width = max((image.shape[2] for image in images), default=0)
    stacked = _stack(maps, 4, height, width)
    shrink, shrink_mask, threshold, threshold_mask = (
        stacked[:, i : i + 1].contiguous() for i in range(4)
    )
    return Batch(
        images=_stack(images, 3, height, width),
        shrink=shrink,
        shrink_mask=shrink_mask,
        threshold=threshold,
        threshold_mask=threshold_mask,
        names=[name for name, _, _ in usable],
        broken=[s.error for s in samples if s.error is not None],
    )


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The order of `count` pages in an epoch: a permutation fixed by (seed, epoch)."""
    return [int(i) for i in np.random.default_rng([seed, epoch]).permutation(count)]


def training_loader(
    dataset: TrainingPages,
    *,
    batch_size: int,
    workers: int,
    epoch: int,
    seed: int,
    pin_memory: bool,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Sample]:
    """Yields the `Batch`es of one epoch, counted from 0; the last one may be smaller.

    They are the same to the bit for any number of workers, and after a resume. With several
    processes each batch is dealt crop by crop, and process `rank` of `world` yields its share
    of every batch, which may be empty. `dataset` is not changed, and torch's global random
    state is not used.
    """
    dataset = copy.copy(dataset)
    dataset.set_epoch(epoch)
    order = epoch_order(len(dataset), seed, epoch)
    return DataLoader(
        dataset,
        batch_sampler=[
            order[i : i + batch_size][rank::world] for i in range(0, len(order), batch_size)
        ],
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=init_worker,
        generator=torch.Generator().manual_seed(seed),
    )


def init_worker(_worker: int) -> None:
    """One thread per loader process: the processes are the parallelism."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _stack(tensors: Sequence[Tensor], channels: int, height: int, width: int) -> Tensor:
    """(N, channels, height, width) of (channels, h, w) tensors, padded with 0."""
    if not tensors:
        return torch.zeros((0, channels, height, width))
    return torch.stack([pad(t, (0, width - t.shape[2], 0, height - t.shape[1])) for t in tensors])
