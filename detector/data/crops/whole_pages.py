"""Whole pages for the network, at test time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from detector.core.errors import InputError
from detector.data.crops.loader import init_worker
from detector.data.labels.annotations import read_image
from detector.data.page.preprocess import Prepared, Preprocess


@dataclass(frozen=True, eq=False)
class WholePage:
    """One page for the network, or, for an image that cannot be read, the reason alone."""

    index: int
    page: Prepared | None
    error: str = ""


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


def in_batches(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    """The indices in runs of `size`, the last one perhaps shorter."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def whole_page_loader(
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    workers: int,
    batches: Sequence[Sequence[int]],
) -> DataLoader[list[WholePage]]:
    """Yields `batches` of prepared pages, given as indices of `paths`, in this order."""
    return DataLoader(
        WholePages(paths, preprocess),  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=init_worker,
    )
