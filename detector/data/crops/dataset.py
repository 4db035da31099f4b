"""Pages as training samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from detector.core.errors import InputError
from detector.core.geometry import Box, Points, text_box
from detector.data.crops.batch import Sample, packed
from detector.data.crops.targets import Targets, make_targets
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import Page, read_image
from detector.data.page.cache import PageCache, ReadPage
from detector.data.page.preprocess import Preprocess


class TrainingPages(Dataset[Sample]):
    """Augmented crops, each of an (epoch, index): on these and the seed alone a sample depends.

    Args:
        pages: the split.
        augment: draws the crop. Its `fill` is replaced by the mean colour of `preprocess`,
            so that the outside of a page looks as it does at evaluation.
        preprocess: prepares the page and crops it to its words.
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
        self.cache = cache
        self.make_targets = partial(
            make_targets,
            shrink_ratio=shrink_ratio,
            threshold_min=threshold_min,
            threshold_max=threshold_max,
            min_side_px=min_side_px,
        )

    def __len__(self) -> int:
        return len(self.pages)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        name = self.pages[key[1]].name
        try:
            return packed(name, *self.crop(*key))
        except InputError as error:
            return Sample(name, error=str(error))

    def crop(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], Targets]:
        """The crop, (H, W, 3) uint8 RGB, and its label maps; InputError for a broken page."""
        page = self.pages[index]
        read = self._read(page)
        image, polygons = self._cropped(read.image, [read.move(w.points) for w in page.words])
        rng = np.random.default_rng([self.seed, epoch, index])
        try:
            crop, polygons, _ = self.augment(image, polygons, rng)
            ignore = [word.ignore for word in page.words]
            return crop, self.make_targets(polygons, ignore, *crop.shape[:2])
        except InputError as error:
            raise InputError(f"{page.path}: {error}") from None

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
