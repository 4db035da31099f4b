"""One branch of the DB head: fused features in, logits at the size of the image out."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from detector.model.neck import init_convolutions

UPSAMPLES = ("deconv", "smooth")


class Head(nn.Module):
    """conv3x3, BN, ReLU, double, BN, ReLU, double (arXiv:1911.08947, section 3.1).

    `upsample` says what doubles the side: `deconv`, the transposed 2x2 convolution of the
    paper, or `smooth`, bilinear interpolation and a 3x3 convolution. The four pixels that a
    transposed convolution makes of one do not see its neighbours, which can leave a
    checkerboard (doi:10.23915/distill.00003); `smooth` has none, for more work.

    `prior` is the output probability before any training. A branch that predicts rare
    pixels starts near their rate, so that the first steps do not go into learning the base
    rate (arXiv:1708.02002, section 3.3).

    Raises ValueError for an unknown `upsample`.
    """

    def __init__(self, in_channels: int, *, prior: float = 0.5, upsample: str = "deconv") -> None:
        super().__init__()
        if upsample not in UPSAMPLES:
            raise ValueError(f"upsample must be one of {', '.join(UPSAMPLES)}, got {upsample!r}")
        width = in_channels // 4
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _double(width, width, upsample, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.logits = _double(width, 1, upsample, bias=True)
        init_convolutions(self)
        _start_at(self.logits, prior)

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(N, 1, 4 H, 4 W)` from features `(N, in_channels, H, W)` at stride 4.

        Under autocast the last layer works in float32: the 8 significant bits of bf16 would put
        neighbouring probabilities 0.0016 apart, a difference that the loss makes `step_k` times
        as steep.
        """
        return in_float32(self.logits, self.layers(features))


def in_float32(layer: nn.Module, *inputs: Tensor) -> Tensor:
    """What `layer` makes of its inputs, in float32 under autocast too."""
    kind = inputs[0].device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return cast(Tensor, layer(*inputs))
    with torch.autocast(kind, enabled=False):
        return cast(Tensor, layer(*(tensor.float() for tensor in inputs)))


def _double(in_channels: int, out_channels: int, upsample: str, *, bias: bool) -> nn.Module:
    """A layer that doubles height and width."""
    if upsample == "deconv":
        return nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=bias)
    return nn.Sequential(
        nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias),
    )


def _start_at(logits: nn.Module, prior: float) -> None:
    """Small weights and a bias that put the first logits close to the prior everywhere."""
    layer = logits[-1] if isinstance(logits, nn.Sequential) else logits
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    assert layer.bias is not None
    # A transposed 2x2 convolution of stride 2 has one tap an output pixel.
    taps = math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
    nn.init.normal_(layer.weight, std=0.1 / (layer.in_channels * taps) ** 0.5)
    nn.init.constant_(layer.bias, math.log(prior / (1 - prior)))
