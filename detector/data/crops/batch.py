"""Training crops: bytes on their way to the network's device, floats there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

from detector.data.crops.targets import Targets


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops with their label maps, for the loss.

    `images` is (N, 3, H, W) float32, normalised; the maps are (N, 1, H, W) float32, see
    `detector.data.crops.targets.Targets`. N may be 0.
    """

    images: Tensor
    shrink: Tensor
    shrink_mask: Tensor
    threshold: Tensor
    threshold_mask: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """One training crop, or, for a page that cannot be used, the reason alone.

    image: (H, W, 3) uint8 RGB.
    threshold: (H, W) uint8, the threshold map in 255ths.
    masks: (3, H, ceil(W / 8)) uint8, a bit a pixel: shrink map, its mask, threshold mask.
    """

    name: str
    image: Tensor | None = None
    threshold: Tensor | None = None
    masks: Tensor | None = None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """Samples on their way, stacked: a sixth of the bytes that they have as floats.

    images: (N, H, W, 3), threshold: (N, H, W), masks: (N, 3, H, ceil(W / 8)), all uint8. N is 0
        when no page of the batch could be used.
    names, broken: of the N pages; which pages are missing, and why.
    """

    images: Tensor
    threshold: Tensor
    masks: Tensor
    names: list[str]
    broken: list[str]

    def pin_memory(self) -> PackedBatch:
        """The batch in page-locked memory; the DataLoader calls this."""
        return replace(
            self,
            images=self.images.pin_memory(),
            threshold=self.threshold.pin_memory(),
            masks=self.masks.pin_memory(),
        )


def packed(name: str, image: NDArray[np.uint8], targets: Targets) -> Sample:
    """The sample of a crop, (H, W, 3) uint8 RGB, and its label maps."""
    masks = targets.shrink, targets.shrink_mask, targets.threshold_mask
    return Sample(
        name,
        torch.from_numpy(np.ascontiguousarray(image)),
        torch.from_numpy(cv2.convertScaleAbs(targets.threshold, alpha=255)),
        torch.from_numpy(np.stack([np.packbits(mask, axis=-1) for mask in masks])),
    )


def collate(samples: Sequence[Sample], fill: Sequence[int] = (0, 0, 0)) -> PackedBatch:
    """A batch of the usable samples, in order; the others are named in `broken`.

    Crops of different sizes are padded right and below: images with the RGB `fill`, and the masks
    with 0, so that the loss of a page does not depend on its neighbours in the batch.
    """
    usable = [s for s in samples if s.error is None]
    return PackedBatch(
        images=_stack([s.image for s in usable], (0, 0, 3), fill),
        threshold=_stack([s.threshold for s in usable], (0, 0)),
        masks=_stack([s.masks for s in usable], (3, 0, 0)),
        names=[s.name for s in usable],
        broken=[s.error for s in samples if s.error is not None],
    )


def _stack(
    tensors: Sequence[Tensor | None], least: tuple[int, ...], fill: Sequence[int] = (0,)
) -> Tensor:
    """(N, ...) uint8 of tensors, padded at the end of the axes; without any of size `least`."""
    found = [tensor for tensor in tensors if tensor is not None]
    shapes = {tensor.shape for tensor in found}
    if len(shapes) == 1:
        return default_collate(found)  # which writes into shared memory in a loader process
    shape = (max(sides) for sides in zip(least, *shapes, strict=True))
    stacked = torch.empty((len(found), *shape), dtype=torch.uint8)
    stacked[:] = torch.tensor(fill, dtype=torch.uint8)
    for canvas, tensor in zip(stacked, found, strict=True):
        canvas[tuple(slice(n) for n in tensor.shape)] = tensor
    return stacked


class Unpack:
    """Makes a PackedBatch the floats that it stands for, on the network's device.

    Args:
        mean, std: of the network's input, RGB in 0 to 1.
        device: where. From pinned memory the bytes are copied while it computes.
        channels_last: memory layout of the images.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        *,
        channels_last: bool = False,
    ) -> None:
        self.device = device
        scaled = [[255 * v for v in values] for values in (mean, std)]
        self._mean, self._std = torch.tensor(scaled, dtype=torch.float32, device=device)
        # The bits of each byte: a look into a table takes half the time of shifts on a CPU.
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        self._bits = torch.from_numpy(bits).to(device, torch.float32)
        self._layout = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, batch: PackedBatch) -> Batch:
        """The batch on the device: images normalised, (value / 255 - mean) / std."""
        images, threshold, masks = (
            tensor.to(self.device, non_blocking=True)
            for tensor in (batch.images, batch.threshold, batch.masks)
        )
        count, height, width = threshold.shape
        # In rows of 3 W values, as they lie: broadcasting over the 3 alone is slow on a CPU.
        pixels = images.view(count, height, width * 3).to(torch.float32)
        pixels = pixels.sub_(self._mean.repeat(width)).div_(self._std.repeat(width))
        images = pixels.view(images.shape).permute(0, 3, 1, 2)
        bits = F.embedding(masks.transpose(0, 1).int(), self._bits).flatten(-2)[..., :width]
        shrink, shrink_mask, threshold_mask = bits.unsqueeze(2)
        return Batch(
            images=images.contiguous(memory_format=self._layout),
            shrink=shrink,
            shrink_mask=shrink_mask,
            threshold=threshold[:, None].float().div_(255),
            threshold_mask=threshold_mask,
        )
