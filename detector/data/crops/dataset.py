"""Pages as training samples."""

from __future__ import annotations

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
from detector.data.labels.annotations import Page
from detector.data.page.cache import PageCache, read_page
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
        cache: where prepared pages are kept; samples are the same to the bit without it.
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
        read = read_page(page.path, self.preprocess, self.block(page), self.cache)
        image, polygons = self._cropped(read.image, read.move([w.points for w in page.words]))
        rng = np.random.default_rng([self.seed, epoch, index])
        try:
            ignore = [word.ignore for word in page.words]
            crop, polygons, _ = self.augment(image, polygons, rng, ignore)
            ignore += [False] * (len(polygons) - len(ignore))  # of words that were pasted
            return crop, self.make_targets(polygons, ignore, *crop.shape[:2])
        except InputError as error:
            raise InputError(f"{page.path}: {error}") from None

    def block(self, page: Page) -> int:
        """Side of the squares of a page's pixels that make less than a pixel at the largest zoom.

        A crop begins with means over such squares, so that keeping these loses nothing. A page that
        is laid flat has another size then, and is kept in full.
        """
        box = self._text_box([word.points for word in page.words], (page.width, page.height))
        if box is None and self.preprocess.preparation.flatten != "none":
            return 1
        x0, y0, x1, y1 = box or (0, 0, page.width, page.height)
        scale = self.augment.scale_max * self.preprocess.scale(x1 - x0, y1 - y0)
        return max(1, int(1 / scale + 1e-6))

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
