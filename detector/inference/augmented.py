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

from detector.config.inference import Use, Views
from detector.config.sections import flatten
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.inference.detector import Detector, load_detector, override
from detector.inference.ensemble import ensemble_file, read_ensemble
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
    scales: Sequence[float] | None = None,
    flip: bool | None = None,
    device: str = "auto",
    amp: str = "auto",
) -> tuple[Detector, TrainConfig]:
    """The detector of one or several checkpoints with test-time augmentation.

    Takes what `load_detector` takes, any number of it, or one ensemble. Settings by dotted key come
    in place of what is stored, and so do `scales` and `flip`: without them they are those of the
    ensemble, else the page as validated. The config is the first one's with them. Raises InputError
    as `load_detector`, `override` and `average` do.
    """
    paths, views, stored = _parts(checkpoints)
    loaded = [load_detector(path, device=device, amp=amp) for path in paths]
    changed = [
        override(detector, config, stored | dict(given or {})) for detector, config in loaded
    ]
    averaged = average(
        [one for one, _ in changed],
        scales=views.scales if scales is None else scales,
        flip=views.flip if flip is None else flip,
    )
    return averaged, changed[0][1]


def members(checkpoints: Sequence[Path]) -> list[Path]:
    """The checkpoints that are averaged: those of an ensemble in its place.

    Raises InputError without any, and when an ensemble is not given alone or cannot be read.
    """
    return _parts(checkpoints)[0]


def _parts(checkpoints: Sequence[Path]) -> tuple[list[Path], Views, dict[str, Any]]:
    """What is averaged, in which views, and the settings kept with an ensemble."""
    if not checkpoints:
        raise InputError("checkpoint: needs at least one, got an empty list")
    files = [file for path in checkpoints if (file := ensemble_file(path)) is not None]
    if not files:
        return [*checkpoints], Views(), {}
    if len(checkpoints) > 1:
        raise InputError(
            f"checkpoint: {files[0].parent} is an ensemble, which is given alone, got "
            f"{len(checkpoints)} checkpoints; give its members' folders instead"
        )
    kept = read_ensemble(files[0])
    paths = [files[0].parent / name for name in kept.members]
    return paths, kept.tta, flatten({"postprocess": kept.postprocess.model_dump()})


def load_used(checkpoints: Sequence[Path], use: Use) -> tuple[Detector, TrainConfig]:
    """`load_average` as a command's settings ask for it."""
    asked = use.tta.model_fields_set
    return load_average(
        checkpoints,
        use.given(),
        scales=use.tta.scales if "scales" in asked else None,
        flip=use.tta.flip if "flip" in asked else None,
        device=use.device,
        amp=use.amp,
    )
