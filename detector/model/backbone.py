"""Any timm model, or FSNet, as a feature pyramid with strides 4, 8, 16 and 32."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from math import log
from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import DropPath
from timm.models.hrnet import HighResolutionModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from detector.core.errors import InputError
from detector.model.mixnet import FSNETS, STRIDES, FSNet

# What a refusal recommends: models of many sizes, with the weights of their bodies in millions.
ALTERNATIVES = {
    "mobilenetv3_small_100": 0.9,
    "mobilenetv3_large_100": 3.0,
    "efficientnet_b0": 3.6,
    "hgnetv2_b2": 6.0,
    "resnet18": 11.2,
    "resnet50": 23.5,
    "swin_tiny_patch4_window7_224": 27.5,
    "convnext_tiny": 27.8,
    "swin_base_patch4_window7_224": 86.7,
    "convnext_base": 87.6,
    "convnext_large": 196.2,
}

# Not square and not a multiple of 224, so that a wrong layout or a fixed input size shows.
_PROBE_HEIGHT, _PROBE_WIDTH = 64, 96


class Backbone(nn.Module):
    """The four feature maps of a timm model, or of one of FSNETS, that the necks merge.

    Channels, strides and input statistics are read from the model, never typed by hand; FSNet,
    which has no published weights, takes ImageNet's statistics. The model is always built with new
    weights; `detector.model.weights` fills them in.

    `channels` and `strides` list the levels finest first. `mean` and `std` are the RGB
    statistics, for values in [0, 1], that the published weights expect. `drop_path` is the
    rate at which training skips the last residual block (stochastic depth, arXiv:1603.09382);
    earlier ones have a rate that rises from 0 to it.

    Raises InputError when the name is not known, when the model has no maps at strides 4, 8, 16
    and 32 for an image of any size, or no blocks that can be skipped.
    """

    def __init__(self, name: str, *, drop_path: float = 0.0) -> None:
        super().__init__()
        _check_name(name)
        self.name = name
        self.body, mean, std = _build_body(name, drop_path)
        self.mean = _rgb(mean)
        self.std = _rgb(std)
        info: Any = self.body.feature_info
        self._positions = _positions(name, info.reduction(), self.body)
        self.channels = tuple(int(info.channels()[i]) for i in self._positions)
        self.strides = STRIDES
        # Swin-like models answer in NHWC; timm names the format only where it can differ.
        output_format = getattr(self.body, "output_fmt", None)
        self._nhwc = getattr(output_format, "value", output_format) == "NHWC"
        self._probe()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps `(N, channels[i], H / strides[i], W / strides[i])`, finest first.

        `images` is `(N, 3, H, W)`, normalised with `mean` and `std`; H and W are multiples
        of 32.
        """
        levels = self.body(images)
        maps = [levels[i] for i in self._positions]
        return [m.permute(0, 3, 1, 2) for m in maps] if self._nhwc else maps

    @property
    def batch_normalised(self) -> bool:
        """Whether batch norm holds the scale of its maps.

        ConvNeXt, Swin and their like have layer norm where a block begins, so that nothing
        bounds the sum of the blocks that leaves a stage.
        """
        return any(isinstance(module, _BatchNorm) for module in self.body.modules())

    def checkpoint_stages(self) -> None:
        """From now on keep what enters a stage, and compute the stage again in a backward pass.

        Gradient checkpointing (arXiv:1604.06174). The gradients stay the same; running statistics
        do with `detector.model.norm.statistics_kept`. HRNet, which timm has none for, keeps what
        enters each of its modules of parallel branches. Raises InputError where timm cannot.
        """
        if parts := _parallel_parts(self.body):
            for part in parts:
                part.forward = partial(_computed_again, part.forward)
            return
        try:
            self.body.set_grad_checkpointing(True)  # type: ignore[operator]
        except (AttributeError, AssertionError):
            raise InputError(
                f"train.grad_checkpointing: timm has none for {self.name}, got true; set it to "
                "false, or choose another model.backbone, such as resnet50, hrnet_w18, "
                "convnext_tiny or swin_tiny_patch4_window7_224"
            ) from None

    def _probe(self) -> None:
        """Run one small image, since feature_info is a promise that some models break."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                maps = self(torch.zeros(1, 3, _PROBE_HEIGHT, _PROBE_WIDTH))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise _refusal(self.name, _probe_fault(self.name, error), self.body) from None
        self.train(training)
        shapes = [tuple(m.shape[1:]) for m in maps]
        expected = [
            (c, _PROBE_HEIGHT // s, _PROBE_WIDTH // s)
            for c, s in zip(self.channels, self.strides, strict=True)
        ]
        if shapes != expected:
            why = (
                f"for a {_PROBE_HEIGHT} x {_PROBE_WIDTH} image it returns maps of {shapes} "
                f"(channels, height, width) instead of {expected}"
            )
            raise _refusal(self.name, why, self.body)


def _parallel_parts(body: nn.Module) -> list[nn.Module]:
    """The parts of an HRNet that take most of its memory, in order; empty for another model."""
    modules = [m for m in body.modules() if isinstance(m, HighResolutionModule)]
    ends = [body.layer1, *body.incre_modules] if modules else []  # type: ignore[misc]
    return [*modules, *ends]


def _computed_again(forward: Any, maps: Tensor | list[Tensor]) -> Any:
    """`forward(maps)`, of which a backward pass finds the input alone."""
    if isinstance(maps, list):  # HRNet writes into the list that it gets
        return checkpoint(lambda *given: forward(list(given)), *maps, use_reentrant=False)
    return checkpoint(forward, maps, use_reentrant=False)


def _check_name(name: str) -> None:
    """Refuse what cannot be built, with the names that can."""
    if name in FSNETS:
        return
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, [*FSNETS, *timm.list_models()], n=5, cutoff=0.5)
        hint = f"close names: {', '.join(near)}" if near else "see timm.list_models()"
        raise InputError(
            f"model.backbone: must be the name of a timm {timm.__version__} model or one of "
            f"{', '.join(FSNETS)}, got {name!r}; {hint}"
        )
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise InputError(
            f"model.backbone: {architecture} has no weights named {tag!r}; valid names: "
            f"{', '.join([architecture, *tags])}"
        )


def _build_body(name: str, drop_path: float) -> tuple[nn.Module, Any, Any]:
    """The feature extractor, and means and deviations of the colours that it expects."""
    if name in FSNETS:
        width, blocks = FSNETS[name]
        body: nn.Module = FSNet(width, blocks, drop_path=drop_path)
        return body, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    # list_models and get_pretrained_cfg agree on names; a model without weights has no config.
    config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if config is None:
        raise InputError(f"model.backbone: timm has no input statistics for {name!r}")
    options: dict[str, Any] = {"pretrained": False, "features_only": True}
    if drop_path > 0:
        options["drop_path_rate"] = drop_path
    attempts = [options]
    if config.fixed_input_size:  # windowed transformers can be freed from their training size
        attempts.insert(0, options | {"strict_img_size": False})
    for attempt in attempts:
        try:
            body = timm.create_model(name, **attempt)
        except TypeError:  # this architecture has no such option: build it plain, then probe it
            continue
        except (RuntimeError, ValueError, AttributeError) as error:
            raise _refusal(name, _first_line(error)) from None
        if drop_path > 0 and not _skips_blocks(body):
            break
        return body, config.mean, config.std
    if drop_path > 0:
        raise InputError(
            f"model.drop_path: timm skips no blocks of {name}, got {drop_path}; set it to 0, or "
            "choose another model.backbone, such as resnet18, convnext_tiny or efficientnet_b0"
        )
    raise _refusal(name, "timm offers no feature maps for it")


def _skips_blocks(body: nn.Module) -> bool:
    return any(isinstance(m, DropPath) and m.drop_prob for m in body.modules())


def _positions(name: str, reductions: list[int], body: nn.Module | None = None) -> list[int]:
    """The last level of each wanted stride."""
    last = {reduction: i for i, reduction in enumerate(reductions)}
    if any(stride not in last for stride in STRIDES):
        found = ", ".join(map(str, reductions))
        raise _refusal(name, f"its maps have strides {found}", body)
    return [last[stride] for stride in STRIDES]


def _probe_fault(name: str, error: Exception) -> str:
    """Why the small image failed, in the words of the model's configuration where it says so."""
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        height, width = config.input_size[-2:]
        return f"it takes images of {height} x {width} alone ({_first_line(error)})"
    return f"it fails on a {_PROBE_HEIGHT} x {_PROBE_WIDTH} image ({_first_line(error)})"


def _refusal(name: str, why: str, body: nn.Module | None = None) -> InputError:
    """The one message about a timm model that cannot be a backbone, with near alternatives."""
    size = sum(p.numel() for p in body.parameters()) / 1e6 if body is not None else 0.0
    wanted = size or ALTERNATIVES["resnet18"]
    near = sorted(ALTERNATIVES, key=lambda other: abs(log(ALTERNATIVES[other] / wanted)))[:3]
    about = f" of about its {size:.0f} million weights" if size >= 1 else ""
    return InputError(
        f"model.backbone: needs feature maps at strides {', '.join(map(str, STRIDES))} for pages "
        f"of any size, which {name} does not give: {why}. "
        f"Choose a model{about} that has them, such as {near[0]}, {near[1]} or {near[2]}"
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _rgb(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
