"""Whole pages for the network, at test time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from detector.core.errors import InputError
from detector.data.crops.loader import init_worker
from detector.data.labels.annotations import read_image
from detector.data.page.cache import PageCache
from detector.data.page.preprocess import Prepared, Preprocess


@dataclass(frozen=True, eq=False)
class WholePage:
    """One page for the network, or, for an image that cannot be read, the reason alone."""

    index: int
    page: Prepared | None
    error: str = ""


class WholePages(Dataset[WholePage]):
    """Image files as `preprocess` prepares them, in the order given; kept in `cache` if given."""

    def __init__(
        self, paths: Sequence[Path], preprocess: Preprocess, cache: PageCache | None = None
    ) -> None:
        self.paths = tuple(paths)
        self.preprocess = preprocess
        self.cache = cache
        if cache is not None:
            preprocess.identity()  # a model that is missing is no fault of a page

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> WholePage:
        path = self.paths[index]
        try:
            if self.cache is not None:
                return WholePage(index, self.cache.read(path, self.preprocess))
            image = read_image(path)
        except InputError as error:
            return WholePage(index, None, str(error))
        return WholePage(index, self.preprocess.prepare(image))


def in_batches(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    """The indices in runs of `size`, the last one perhaps shorter."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def whole_pages(
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    workers: int,
    batches: Sequence[Sequence[int]],
    cache: PageCache | None = None,
) -> Iterator[list[WholePage]]:
    """Yields `batches` of prepared pages, given as indices of `paths`, in this order.

    Loader processes prepare them, but for those that `cache` has: to map an entry takes less than
    to get it from another process.
    """
    pages = WholePages(paths, preprocess, cache)
    held = [cache is not None and cache.holds(path, preprocess) for path in pages.paths]
    kept = [all(held[index] for index in batch) for batch in batches]
    new = [batch for batch, is_kept in zip(batches, kept, strict=True) if not is_kept]
    loaded = iter(_loader(pages, new, workers) if new else ())
    for batch, is_kept in zip(batches, kept, strict=True):
        yield [pages[index] for index in batch] if is_kept else next(loaded)


def _loader(
    pages: WholePages, batches: Sequence[Sequence[int]], workers: int
) -> DataLoader[list[WholePage]]:
    return DataLoader(
        pages,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=init_worker,
        generator=torch.Generator(),  # a loader draws a seed, from torch's own state without one
    )
