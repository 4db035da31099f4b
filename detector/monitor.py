"""TensorBoard events of one training: curves and annotated pages."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from detector.data.annotations import Page, read_image
from detector.data.preprocess import compose, resize_affine
from detector.draw import draw
from detector.maps import PageMap
from detector.postprocess import Detections

PICTURE_SIDE_PX = 800


class Monitor:
    """Writes scalars and pictures into `folder`, one step per epoch.

    `finished` epochs are kept when a training is resumed; later events of an interrupted
    attempt are hidden, so that no epoch shows twice.
    """

    def __init__(self, folder: Path, *, finished: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=finished + 1)

    def scalars(self, values: dict[str, float], epoch: int) -> None:
        """One point per value; names like `loss/total` are grouped by their first part."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def page(self, page: Page, page_map: PageMap, found: Detections, epoch: int) -> None:
        """The page with true and predicted outlines beside its probability map."""
        picture = page_picture(page, page_map, found)
        self._writer.add_image(f"pages/{page.name}", picture, epoch, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


def page_picture(page: Page, page_map: PageMap, found: Detections) -> NDArray[np.uint8]:
    """`(H, W, 3)` uint8 RGB: outlines on the page, and its map in grey beside it, where it lies.

    A flattened page's map is shown flat.
    """
    image = draw(
        read_image(page.path),
        predicted=found.polygons,
        true=[w.points for w in page.words if not w.ignore],
        ignored=[w.points for w in page.words if w.ignore],
    )
    scale = PICTURE_SIDE_PX / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    left = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    to_picture = resize_affine((image.shape[1], image.shape[0]), size)
    to_page = np.asarray(cv2.invertAffineTransform(page_map.affine), np.float64)
    grey = cv2.warpAffine(page_map.probability, compose(to_picture, to_page), size)
    right = np.repeat((grey * 255).round().astype(np.uint8)[..., None], 3, axis=2)
    return np.concatenate([left, right], axis=1)
