"""A trained model with its preprocessing and post-processing: image in, polygons out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.config.settings import PostprocessConfig, TrainConfig, with_values
from detector.core.device import autocast_dtype, choose_device
from detector.core.device_errors import is_out_of_memory, release_memory
from detector.core.errors import JobError
from detector.core.geometry import Box, text_box
from detector.data.page.prepare import Preparation
from detector.data.page.preprocess import Prepared, Preprocess, page_sides
from detector.inference.checkpoint import load_weights, read_kept
from detector.inference.networks import is_start, kept_model, load_start, new_model, weights_of
from detector.inference.onnx_model import is_onnx, read_onnx
from detector.inference.tiles import tiled
from detector.model.dbnet import Network
from detector.postprocess.maps import LEVELS, PageMap, quantize
from detector.postprocess.polygons import Detections, detect, locate

# Scale of the first pass that finds the text of a page to crop, as a share of the second's.
COARSE = 0.5

Channels = tuple[float, float, float]
_SIDES = ("data.longest_side_px", "preprocess.shortest_side_px")


@dataclass(frozen=True)
class Detector:
    """Everything between an image and its polygons, the same for every command.

    `model` takes normalised images `(N, 3, H, W)` and returns `detector.model.dbnet.Maps` of
    logits: a trained network, an ONNX file (`detector.inference.onnx_model`) or an average of
    several (`detector.inference.augmented`). `scales` are the sizes of the page, 1 = as validated,
    whose maps are averaged; each is rendered from the page as it was read.
    """

    model: nn.Module
    preprocess: Preprocess
    postprocess: PostprocessConfig
    device: torch.device
    amp: torch.dtype | None = None
    scales: tuple[float, ...] = (1.0,)

    @property
    def reading(self) -> Preprocess:
        """What prepares pages for `maps_of`, as the loader of pages takes it.

        Pages of several sizes stay in full, like those that will be cropped.
        """
        if self.scales == (1.0,):
            return self.preprocess
        return replace(self.preprocess, crop_margin=self.preprocess.crop_margin or 0.0)

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Polygons of one image, `(H, W, 3)` uint8 RGB, in its own pixels."""
        return self.locate(self.map_of(image))

    def map_of(self, image: NDArray[np.uint8], name: str = "") -> PageMap:
        """The probability map of one image, `(H, W, 3)` uint8 RGB."""
        return self.maps_of([self.reading.prepare(image)], [name])[0]

    def maps_of(self, pages: Sequence[Prepared], names: Sequence[str]) -> list[PageMap]:
        """The probability maps of pages as `reading` prepares them, by name.

        A map has the size of the page at scale 1. Pages that take the same room go through the
        network together.
        """
        boxes = [self._text_box(page) for page in pages]
        plain = self._at(pages, boxes, 1.0)
        maps = self._maps(plain) if self.scales == (1.0,) else self._means(pages, boxes, plain)
        return [
            PageMap(name, found, page.affine, page.size, page.flattening)
            for name, found, page in zip(names, maps, plain, strict=True)
        ]

    def _means(
        self, pages: Sequence[Prepared], boxes: Sequence[Box | None], plain: Sequence[Prepared]
    ) -> list[NDArray[np.float32]]:
        """The means of the maps at all `scales`, in the size of those at scale 1, `plain`."""
        means = [np.zeros(page.image.shape[:2], np.float32) for page in plain]
        for scale in self.scales:
            views = plain if scale == 1 else self._at(pages, boxes, scale)
            for mean, found in zip(means, self._maps(views), strict=True):
                mean += _fitted(found, mean.shape) / len(self.scales)
        return [quantize(mean) for mean in means]

    def _at(
        self, pages: Sequence[Prepared], boxes: Sequence[Box | None], scale: float
    ) -> list[Prepared]:
        """The pages, or their parts with text, at a share of the network's scale."""
        if self.reading.crop_margin is None:
            return list(pages)
        return [
            self.preprocess.crop(page, box, scale) for page, box in zip(pages, boxes, strict=True)
        ]

    def _maps(self, pages: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """The maps of the images, in order, without their padding."""
        tensors = [self.preprocess.tensor(page.image, self.device) for page in pages]
        maps: dict[int, NDArray[np.float32]] = {}
        for shape in sorted({tuple(tensor.shape) for tensor in tensors}):
            group = [i for i, tensor in enumerate(tensors) if tuple(tensor.shape) == shape]
            found = self._probabilities(torch.stack([tensors[i] for i in group]))
            for i, padded in zip(group, found, strict=True):
                height, width = pages[i].image.shape[:2]
                maps[i] = padded[:height, :width]
        return [maps[i] for i in range(len(pages))]

    def probability(self, tensor: Tensor, *, size: tuple[int, int]) -> NDArray[np.float32]:
        """The `(h, w)` probability map of one preprocessed `(3, H, W)` image.

        `size` is the (width, height) that the page covers of it: the padding holds no text
        and is left out, so that no region reaches into it. Values are rounded to 1/65535, the
        precision at which maps are kept (`detector.postprocess.maps`).
        """
        return self._probabilities(tensor[None])[0, : size[1], : size[0]]

    def locate(self, page_map: PageMap) -> Detections:
        """Polygons in pixels of the page."""
        return locate(page_map, self.postprocess)

    def _probabilities(self, images: Tensor) -> NDArray[np.float32]:
        """`(N, H, W)` of `(N, 3, H, W)`, as `quantize` gives them.

        Fewer at a time where the device has no memory for all; JobError when it has none for one.
        """
        try:
            return self._at_once(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(images) == 1:
                height, width = images.shape[2:]
                raise JobError(
                    f"out of memory: the device has no memory for a page of {width} x {height} "
                    "pixels; use a smaller data.longest_side_px, or a smaller preprocess.tile_px "
                    "to look at it in parts"
                ) from error
        # Not above: as long as the error is handled, it holds what it was computing with.
        release_memory()
        halves = images.tensor_split(2)
        return np.concatenate([self._probabilities(half) for half in halves])

    def _at_once(self, images: Tensor) -> NDArray[np.float32]:
        """`(N, H, W)` of `(N, 3, H, W)`, by tiles where the preprocessing says so."""
        self.model.eval()
        batch = images.to(self.device, memory_format=torch.channels_last)
        settings = self.preprocess
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.amp, enabled=self.amp is not None),
        ):
            found = tiled(
                lambda part: self.model(part).probability.float().sigmoid(),
                batch,
                tile=settings.tile_px or max(images.shape[2:]),
                overlap=settings.tile_overlap_px if settings.tile_px else 0,
                stride=settings.stride,
            )
            found = found[:, 0].mul_(LEVELS).round_().mul_(1 / LEVELS)
        return np.asarray(found.cpu().numpy())

    def _text_box(self, page: Prepared) -> Box | None:
        """Where the text of a page to crop is, by a first pass at `COARSE` of the scale."""
        margin = self.preprocess.crop_margin
        if margin is None:
            return None
        image, affine = self.preprocess.resize(page.image, COARSE)
        height, width = image.shape[:2]
        probability = self.probability(self.preprocess.tensor(image), size=(width, height))
        found = detect(probability, **self._loose, affine=affine, size=page.image.shape[1::-1])
        return text_box(found.polygons, page.image.shape[1::-1], margin)

    @property
    def _loose(self) -> dict[str, Any]:
        """Settings of the first pass: a region too many costs scale, one too few costs words."""
        settings = self.postprocess
        loose = {"box_thresh": settings.box_thresh / 2, "min_side_px": 0.0}
        return settings.model_dump() | loose


def _fitted(found: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A map at another (height, width), resized as pages are."""
    if found.shape == shape:
        return found
    method = cv2.INTER_AREA if found.size > math.prod(shape) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(found, shape[::-1], interpolation=method), np.float32)


def make_preprocess(
    config: TrainConfig, *, mean: Channels, std: Channels, training: bool = False
) -> Preprocess:
    """The preprocessing of a config, with the statistics of its backbone.

    With `training` pages have the size at which crops are trained, else that of validation and use.
    """
    settings = config.preprocess
    folder = config.data.cache_folder()
    longest, shortest = page_sides(
        config.data.longest_side_px,
        settings.shortest_side_px,
        1.0 if training else settings.test_scale,
    )
    return Preprocess(
        longest_side_px=longest,
        mean=mean,
        std=std,
        shortest_side_px=shortest,
        preparation=Preparation(
            background=settings.background,
            background_model=settings.background_model,
            contrast=settings.contrast,
            flatten=settings.flatten,
            masks=folder and folder / "masks",
        ),
        crop_margin=settings.crop_margin if settings.crop else None,
        tile_px=settings.tile_px,
        tile_overlap_px=settings.tile_overlap_px,
    )


def override(
    detector: Detector, config: TrainConfig, given: Mapping[str, Any]
) -> tuple[Detector, TrainConfig]:
    """The detector and its config with settings by dotted key replaced, checked like any.

    A size of pages that is given is that of use, whatever was the share of training's.
    """
    if not given:
        return detector, config
    as_given = {"preprocess.test_scale": 1.0} if any(key in given for key in _SIDES) else {}
    changed, stored = with_values(config, as_given | dict(given)), detector.preprocess
    preprocess = make_preprocess(changed, mean=stored.mean, std=stored.std)
    return replace(detector, preprocess=preprocess, postprocess=changed.postprocess), changed


def load_detector(
    checkpoint: Path, *, device: str = "auto", amp: str = "auto"
) -> tuple[Detector, TrainConfig]:
    """The detector kept in a `best/` folder or in an ONNX file; InputError if unreadable.

    A name of `detector.model.graph.starts.STARTS` is the detector as published, at the settings
    that a training has by default.
    """
    place = choose_device(device)
    model, preprocess, config = _reader(checkpoint)(checkpoint, place)
    model.eval()
    return Detector(
        model, preprocess, config.postprocess, place, autocast_dtype(amp, place)
    ), config


def _reader(
    checkpoint: Path,
) -> Callable[[Path, torch.device], tuple[nn.Module, Preprocess, TrainConfig]]:
    if is_start(checkpoint):
        return _read_published
    return read_onnx if is_onnx(checkpoint) else _read_trained


def _read_published(name: Path, device: torch.device) -> tuple[Network, Preprocess, TrainConfig]:
    """A whole detector that nobody has trained on, as `_read_trained` gives what was."""
    weights_of(name)  # where its package is missing, this says so of the checkpoint
    config = with_values(TrainConfig(), {"train.init": str(name)})
    model = new_model(config)
    load_start(model, config.train.init)
    model.to(device).to(memory_format=torch.channels_last)
    return model, make_preprocess(config, mean=model.mean, std=model.std), config


def _read_trained(path: Path, device: torch.device) -> tuple[Network, Preprocess, TrainConfig]:
    """What a training kept: the network on `device`, its preprocessing and its settings."""
    kept = read_kept(path)
    config = kept.config
    model = kept_model(config, kept.metadata, str(path))
    load_weights(model, kept.tensors, path)
    model.to(device).to(memory_format=torch.channels_last)
    return model, make_preprocess(config, mean=model.mean, std=model.std), config
