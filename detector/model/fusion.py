"""Fusion of the four pyramid levels: plain concatenation or Adaptive Scale Fusion.

Adaptive Scale Fusion (DBNet++, arXiv:2202.10304, section 3.3) weighs every level at every
pixel before concatenating. `scale_spatial` is the attention of the paper;
`scale_channel_spatial` puts a channel attention before it, as the released configuration
does. Its result is added to its input, not multiplied with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detector.model.neck import LEVELS, init_convolutions, level_channels

FUSIONS = ("none", "scale_spatial", "scale_channel_spatial")


class Concatenate(nn.Module):
    """The fusion of DBNet: the levels side by side."""

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """`(N, 4 * C, H, W)` from four maps `(N, C, H, W)`."""
        return torch.cat(list(levels), dim=1)


class AdaptiveScaleFusion(nn.Module):
    """Attention over the four levels, one weight in (0, 1) per level and pixel.

    S = conv3x3(concatenated levels), `out_channels // 4` wide, with bias and no activation;
    with `channel`, S = S + sigmoid(W2 relu(W1 mean_hw(S)));
    A = sigmoid(conv1x1(S + sigmoid(conv1x1(relu(conv3x3(mean_c(S))))))), four maps;
    the output concatenates A_i * level_i. Only the first convolution has a bias.
    """

    def __init__(self, out_channels: int, *, channel: bool) -> None:
        super().__init__()
        width = level_channels(out_channels)
        self.reduce = nn.Conv2d(out_channels, width, 3, padding=1)
        self.channel: nn.Module | None = None
        if channel:
            squeezed = width // 4
            self.channel = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(width, squeezed, 1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(squeezed, width, 1, bias=False),
                nn.Sigmoid(),
            )
        self.spatial = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(1, 1, 1, bias=False),
            nn.Sigmoid(),
        )
        self.weigh = nn.Conv2d(width, LEVELS, 1, bias=False)
        init_convolutions(self)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """`(N, 4 * C, H, W)` from four maps `(N, C, H, W)`."""
        stacked = torch.cat(list(levels), dim=1)
        weights = self.attention(stacked)
        # One multiplication over (N, level, C, H, W) instead of four and a second concatenation.
        weighted = stacked.unflatten(1, (LEVELS, -1)) * weights.unsqueeze(2)
        return weighted.flatten(1, 2)

    def attention(self, stacked: Tensor) -> Tensor:
        """`(N, 4, H, W)` in (0, 1), one map per level, from the concatenation."""
        features = self.reduce(stacked)
        if self.channel is not None:
            features = features + self.channel(features)
        features = features + self.spatial(features.mean(dim=1, keepdim=True))
        return torch.sigmoid(self.weigh(features))


def make_fusion(name: str, out_channels: int) -> nn.Module:
    """The fusion called `name`; ValueError with the valid names otherwise."""
    if name not in FUSIONS:
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got {name!r}")
    if name == "none":
        return Concatenate()
    return AdaptiveScaleFusion(out_channels, channel=name == "scale_channel_spatial")
