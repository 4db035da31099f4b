"""Probability maps averaged over several checkpoints, page sizes and mirror images.

What is averaged are probabilities, before post-processing. Sizes are the detector's matter, since
each is rendered from the page as it was read; the rest is a network like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detector.config.inference import Use
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.inference.detector import Detector, load_detector, override
from detector.model.dbnet import Maps


class Averaged(nn.Module):
    """The mean of the probabilities of `networks` over their input and, with `flip`, its mirror.

    Maps `(N, 3, H, W)` to `Maps` of logits like the networks do.
    """

    def __init__(self, networks: Sequence[nn.Module], *, flip: bool) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.flip = flip

    def forward(self, images: Tensor) -> Maps:
        return Maps(torch.logit(torch.stack([*self._maps(images)]).mean(dim=0)), None)

    def _maps(self, images: Tensor) -> Iterator[Tensor]:
        for network in self.networks:
            yield _probability(network, images)
            if self.flip:
                yield _probability(network, images.flip(-1)).flip(-1)


def _probability(network: nn.Module, images: Tensor) -> Tensor:
    probability: Tensor = network(images).probability.float().sigmoid()
    return probability


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
                "leave one of them out, or give both the same settings"
            )
    scaled = replace(first, scales=tuple(scales))
    if len(detectors) == 1 and not flip:
        return scaled
    model = Averaged([detector.model for detector in detectors], flip=flip)
    return replace(scaled, model=model.eval())


def load_average(
    checkpoints: Sequence[Path],
    given: Mapping[str, Any] | None = None,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    device: str = "auto",
    amp: str = "auto",
) -> tuple[Detector, TrainConfig]:
    """The detector of one or several checkpoints with test-time augmentation.

    Takes what `load_detector` takes, any number of it, and settings by dotted key in place of what
    is stored with each; the config is the first one's with them. Raises InputError as
    `load_detector`, `override` and `average` do.
    """
    if not checkpoints:
        raise InputError("checkpoint: needs at least one, got an empty list")
    loaded = [load_detector(path, device=device, amp=amp) for path in checkpoints]
    changed = [override(detector, config, given or {}) for detector, config in loaded]
    return average([one for one, _ in changed], scales=scales, flip=flip), changed[0][1]


def load_used(checkpoints: Sequence[Path], use: Use) -> tuple[Detector, TrainConfig]:
    """`load_average` as a command's settings ask for it."""
    return load_average(
        checkpoints,
        use.given(),
        scales=use.tta.scales,
        flip=use.tta.flip,
        device=use.device,
        amp=use.amp,
    )
