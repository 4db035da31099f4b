"""Any timm model as a feature pyramid with strides 4, 8, 16 and 32."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn

from detector.errors import InputError

STRIDES = (4, 8, 16, 32)

# Not square and not a multiple of 224, so that a wrong layout or a fixed input size shows.
_PROBE_HEIGHT, _PROBE_WIDTH = 64, 96


class Backbone(nn.Module):
    """The four feature maps of a timm model that the necks merge.

    Channels, strides and input statistics are read from timm, never typed by hand. The
    model is always built with new weights; `detector.model.weights` fills them in.

    `channels` and `strides` list the levels finest first. `mean` and `std` are the RGB
    statistics, for values in [0, 1], that the published weights expect.

    Raises InputError when timm does not know the name, or when the model has no maps at
    strides 4, 8, 16 and 32 for an image of any size.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        _check_name(name)
        self.name = name
        self.body, config = _build_body(name)
        self.mean = _rgb(config.mean)
        self.std = _rgb(config.std)
        info: Any = self.body.feature_info
        self._positions = _positions(name, info.reduction())
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

    def _probe(self) -> None:
        """Run one small image, since feature_info is a promise that some models break."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                maps = self(torch.zeros(1, 3, _PROBE_HEIGHT, _PROBE_WIDTH))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"model.backbone: {self.name} cannot take a {_PROBE_HEIGHT} x {_PROBE_WIDTH} "
                f"image, so it cannot take pages of any size ({reason}); choose another "
                "backbone, such as resnet18 or convnext_tiny"
            ) from None
        self.train(training)
        shapes = [tuple(m.shape[1:]) for m in maps]
        expected = [
            (c, _PROBE_HEIGHT // s, _PROBE_WIDTH // s)
            for c, s in zip(self.channels, self.strides, strict=True)
        ]
        if shapes != expected:
            raise InputError(
                f"model.backbone: {self.name} returns maps of {shapes} (channels, height, width) "
                f"for a {_PROBE_HEIGHT} x {_PROBE_WIDTH} image where {expected} are needed; choose "
                "another backbone, such as resnet18 or convnext_tiny"
            )


def _check_name(name: str) -> None:
    """Refuse what timm cannot build, with the names it can."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.5)
        hint = f"close names: {', '.join(near)}" if near else "see timm.list_models()"
        raise InputError(
            f"model.backbone: must be the name of a timm {timm.__version__} model, "
            f"got {name!r}; {hint}"
        )
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise InputError(
            f"model.backbone: {architecture} has no weights named {tag!r}; valid names: "
            f"{', '.join([architecture, *tags])}"
        )


def _build_body(name: str) -> tuple[nn.Module, Any]:
    """The timm feature extractor and timm's pretrained configuration."""
    # list_models and get_pretrained_cfg agree on names; a model without weights has no config.
    config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if config is None:
        raise InputError(f"model.backbone: timm has no input statistics for {name!r}")
    options: dict[str, Any] = {"pretrained": False, "features_only": True}
    attempts = [options]
    if config.fixed_input_size:  # windowed transformers can be freed from their training size
        attempts.insert(0, options | {"strict_img_size": False})
    for attempt in attempts:
        try:
            return timm.create_model(name, **attempt), config
        except TypeError:  # this architecture has no such option: build it plain, then probe it
            continue
        except (RuntimeError, ValueError, AttributeError) as error:
            raise _no_levels(name, str(error)) from None
    raise _no_levels(name, "timm offers no feature maps for it")


def _positions(name: str, reductions: list[int]) -> list[int]:
    """The last level of each wanted stride."""
    last = {reduction: i for i, reduction in enumerate(reductions)}
    if any(stride not in last for stride in STRIDES):
        raise _no_levels(name, f"its strides are {list(reductions)}")
    return [last[stride] for stride in STRIDES]


def _no_levels(name: str, reason: str) -> InputError:
    return InputError(
        f"model.backbone: needs feature maps at strides {', '.join(map(str, STRIDES))}, which "
        f"{name} does not have ({reason}); choose another, such as resnet18 or convnext_tiny"
    )


def _rgb(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
