"""Probability maps averaged over several checkpoints, page sizes and mirror images.

What is averaged are probabilities, before post-processing. The average is a network like any
other, so a `Detector` with it works wherever one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from detector.config.sections import Section
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.inference.detector import Detector, load_detector, override
from detector.model.dbnet import Maps

Checkpoints = Annotated[
    list[Path], BeforeValidator(lambda value: value if isinstance(value, list) else [value])
]


class Views(Section):
    """The views of a page that are averaged; the default is the page itself."""

    scales: list[Annotated[float, Field(ge=0.1, le=4)]] = Field(
        [1.0],
        min_length=1,
        description="sizes of the page, 1 = as trained: tta.scales=[0.8,1,1.25]",
    )
    flip: bool = Field(False, description="also the mirror image of every size")


class Averaged(nn.Module):
    """The mean of the probabilities of `networks` over the views of their input.

    Maps `(N, 3, H, W)` to `Maps` of logits like the networks do. A scaled view has sides that
    are the nearest multiples of `stride`, at least one; it is interpolated from the
    input, and its map back to `(H, W)`.
    """

    def __init__(
        self, networks: Sequence[nn.Module], *, scales: Sequence[float], flip: bool, stride: int
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.scales = tuple(scales)
        self.flip = flip
        self.stride = stride

    def forward(self, images: Tensor) -> Maps:
        maps = [probability for scale in self.scales for probability in self._at(images, scale)]
        return Maps(torch.logit(torch.stack(maps).mean(dim=0)), None)

    def _at(self, images: Tensor, scale: float) -> Iterator[Tensor]:
        """The map of every network for one size, and for its mirror image."""
        height, width = images.shape[-2:]
        view = _resize(images, self._side(height, scale), self._side(width, scale))
        for network in self.networks:
            yield _resize(_probability(network, view), height, width)
            if self.flip:
                mirrored = _probability(network, view.flip(-1)).flip(-1)
                yield _resize(mirrored, height, width)

    def _side(self, side: int, scale: float) -> int:
        return side if scale == 1 else max(1, round(side * scale / self.stride)) * self.stride


def _probability(network: nn.Module, images: Tensor) -> Tensor:
    probability: Tensor = network(images).probability.float().sigmoid()
    return probability


def _resize(maps: Tensor, height: int, width: int) -> Tensor:
    """`maps` themselves at their own size; else smoothed as far as they shrink."""
    if maps.shape[-2:] == (height, width):
        return maps
    return F.interpolate(
        maps, (height, width), mode="bilinear", align_corners=False, antialias=True
    )


def average(
    detectors: Sequence[Detector], *, scales: Sequence[float] = (1.0,), flip: bool = False
) -> Detector:
    """One detector whose maps are the mean over `detectors`, sizes and mirror images.

    Post-processing, device and number format are those of the first. A single detector at
    scale 1 without flip is returned as it is. Raises InputError when the detectors do not
    share their preprocessing.
    """
    first = detectors[0]
    for number, other in enumerate(detectors[1:], start=2):
        if other.preprocess != first.preprocess:
            raise InputError(
                f"checkpoint: maps can be averaged only after one preprocessing; number 1 has "
                f"{first.preprocess.to_dict()}, number {number} {other.preprocess.to_dict()}; "
                "leave one of them out"
            )
    if len(detectors) == 1 and all(scale == 1 for scale in scales) and not flip:
        return first
    model = Averaged(
        [detector.model for detector in detectors],
        scales=scales,
        flip=flip,
        stride=first.preprocess.stride,
    )
    return replace(first, model=model.eval())


def load_average(
    checkpoints: Sequence[Path], tta: Views, *, device: str = "auto", amp: str = "auto"
) -> tuple[Detector, TrainConfig]:
    """The detector of one or several checkpoints with test-time augmentation.

    Takes what `load_detector` takes, any number of it; the config is the first one's. Raises
    InputError as `load_detector` and `average` do.
    """
    if not checkpoints:
        raise InputError("checkpoint: needs at least one, got an empty list")
    loaded = [load_detector(path, device=device, amp=amp) for path in checkpoints]
    detector = average([one for one, _ in loaded], scales=tta.scales, flip=tta.flip)
    return detector, loaded[0][1]


class DetectorSettings(Section):
    """Which detector a command runs, and what is replaced of what was stored with it."""

    checkpoint: Checkpoints = Field(
        description="best/ folder of a training or a search, or an ONNX file; several as [a, b], "
        "whose maps are averaged"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto", description="mixed precision")
    preprocess: dict[str, Any] = Field(
        {}, description="replaces what is stored, key by key: preprocess.tile_px=1024"
    )
    postprocess: dict[str, Any] = Field(
        {}, description="replaces what is stored, key by key: postprocess.box_thresh=0.4"
    )
    tta: Views = Views()

    def load(self) -> Detector:
        """Raises InputError as `load_average` does, and for settings that do not exist."""
        detector, config = load_average(self.checkpoint, self.tta, device=self.device, amp=self.amp)
        return override(detector, config, preprocess=self.preprocess, postprocess=self.postprocess)
