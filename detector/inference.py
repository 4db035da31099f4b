"""A trained model with its preprocessing and post-processing: image in, polygons out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.checkpoint import load_weights, read_best
from detector.config import PostprocessConfig, TrainConfig
from detector.data.preprocess import Preprocess
from detector.device import autocast_dtype, choose_device
from detector.maps import quantize
from detector.model.dbnet import DBNet, build_model
from detector.onnx_model import is_onnx, read_onnx
from detector.postprocess import Detections, detect


@dataclass(frozen=True)
class Detector:
    """Everything between an image and its polygons, the same for every command.

    `model` takes normalised images `(N, 3, H, W)` and returns `detector.model.dbnet.Maps` of
    logits: a trained network, an ONNX file (`detector.onnx_model`) or an average of several
    (`detector.augmented`).
    """

    model: nn.Module
    preprocess: Preprocess
    postprocess: PostprocessConfig
    device: torch.device
    amp: torch.dtype | None = None

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Polygons of one image, `(H, W, 3)` uint8 RGB, in its own pixels."""
        probability, affine = self.map_of(image)
        return self.locate(probability, affine, size=(image.shape[1], image.shape[0]))

    def map_of(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The `(h, w)` probability map of one image, `(H, W, 3)` uint8 RGB, and the `(2, 3)`
        affine from its pixels to those of the map."""
        tensor, affine = self.preprocess(image)
        size = covered(affine, (image.shape[1], image.shape[0]))
        return self.probability(tensor, size=size), affine

    def probability(self, tensor: Tensor, *, size: tuple[int, int]) -> NDArray[np.float32]:
        """The `(h, w)` probability map of one preprocessed `(3, H, W)` image.

        `size` is the (width, height) that the page covers of it: the padding holds no text
        and is left out, so that no region reaches into it. Values are rounded to 1/65535, the
        precision at which maps are kept (`detector.maps`).
        """
        self.model.eval()
        batch = tensor[None].to(self.device, memory_format=torch.channels_last)
        enabled = self.amp is not None
        with torch.inference_mode(), torch.autocast(self.device.type, self.amp, enabled=enabled):
            logits = self.model(batch).probability
        return quantize(logits[0, 0, : size[1], : size[0]].float().sigmoid().cpu().numpy())

    def locate(
        self,
        probability: NDArray[np.float32],
        affine: NDArray[np.float64],
        *,
        size: tuple[int, int],
    ) -> Detections:
        """Polygons in source pixels; `size` is the source's (width, height)."""
        return detect(probability, **self.postprocess.model_dump(), affine=affine, size=size)


def covered(affine: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) in model pixels of a source page of `size`, without the padding."""
    return max(1, round(affine[0, 0] * size[0])), max(1, round(affine[1, 1] * size[1]))


def make_preprocess(model: DBNet, longest_side_px: int) -> Preprocess:
    """The preprocessing a model needs: its backbone's own statistics."""
    return Preprocess(longest_side_px=longest_side_px, mean=model.mean, std=model.std)


def new_model(config: TrainConfig) -> DBNet:
    """The network a config describes, with new weights."""
    return build_model(
        backbone=config.model.backbone,
        neck=config.model.neck,
        neck_channels=config.model.neck_channels,
        fusion=config.model.fusion,
        upsample=config.model.upsample,
    )


def load_detector(
    checkpoint: Path, *, device: str = "auto", amp: str = "auto"
) -> tuple[Detector, TrainConfig]:
    """The detector kept in a `best/` folder or in an ONNX file; InputError if unreadable."""
    place = choose_device(device)
    read = read_onnx if is_onnx(checkpoint) else _read_trained
    model, preprocess, config = read(checkpoint, place)
    model.eval()
    return Detector(
        model, preprocess, config.postprocess, place, autocast_dtype(amp, place)
    ), config


def _read_trained(path: Path, device: torch.device) -> tuple[DBNet, Preprocess, TrainConfig]:
    """What a training kept: the network on `device`, its preprocessing and its settings."""
    tensors, config = read_best(path)
    model = new_model(config)
    load_weights(model, tensors, path)
    model.to(device).to(memory_format=torch.channels_last)
    return model, make_preprocess(model, config.data.longest_side_px), config
