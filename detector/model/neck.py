"""Necks: four backbone maps in, four equally wide maps at stride 4 out.

Each output level has `out_channels // 4` channels. The width is reduced before a level is
brought to stride 4: nearest upsampling commutes with a 1x1 convolution and, except next to
the borders of the enlarged pixels, with a 3x3 one, and the work is up to 64 times less.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4


class FPN(nn.Module):
    """Feature pyramid as in DBNet (arXiv:1911.08947, section 3.1).

    1x1 laterals to `out_channels`, nearest top-down sums, then a 3x3 convolution to
    `out_channels // 4` on every level; no normalisation and no bias.
    """

    def __init__(self, channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        width = level_channels(out_channels)
        self.laterals = nn.ModuleList(nn.Conv2d(c, out_channels, 1, bias=False) for c in channels)
        self.smooth = nn.ModuleList(
            nn.Conv2d(out_channels, width, 3, padding=1, bias=False) for _ in channels
        )
        init_convolutions(self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps `(N, out_channels // 4, H / 4, W / 4)`, coarsest first, from maps finest first."""
        merged = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        for i in range(len(merged) - 2, -1, -1):
            merged[i] = merged[i] + enlarge(merged[i + 1], 2)
        levels = [conv(m) for conv, m in zip(self.smooth, merged, strict=True)]
        return _to_finest(levels)


class UNet(nn.Module):
    """U-Net decoder (arXiv:1505.04597): enlarge, concatenate the skip, 3x3 conv, BN, ReLU.

    As in the paper the width falls towards the fine levels, where pixels are dear:
    `out_channels` at strides 32 and 16, a half at 8 and a quarter at 4. A 1x1 convolution
    then brings every level to `out_channels // 4`, as the fusion expects.
    """

    def __init__(self, channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        width = level_channels(out_channels)
        widths = [out_channels // 4, out_channels // 2, out_channels, out_channels]
        self.bottom = conv_bn_relu(channels[-1], widths[-1], kernel=1)
        self.steps = nn.ModuleList(  # finest first, like the maps
            conv_bn_relu(widths[i + 1] + channels[i], widths[i], kernel=3)
            for i in range(len(channels) - 1)
        )
        self.reduce = nn.ModuleList(nn.Conv2d(w, width, 1, bias=False) for w in widths)
        init_convolutions(self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps `(N, out_channels // 4, H / 4, W / 4)`, coarsest first, from maps finest first."""
        merged = [self.bottom(maps[-1])]
        for step, skip in zip(reversed(self.steps), reversed(maps[:-1]), strict=True):
            merged.insert(0, step(torch.cat([enlarge(merged[0], 2), skip], dim=1)))
        levels = [conv(m) for conv, m in zip(self.reduce, merged, strict=True)]
        return _to_finest(levels)


NECKS: dict[str, type[FPN] | type[UNet]] = {"fpn": FPN, "unet": UNet}


def level_channels(out_channels: int) -> int:
    """Channels of one of the four levels; ValueError unless `out_channels` is a multiple of 16."""
    if out_channels < 16 or out_channels % 16:
        raise ValueError(f"neck_channels must be a positive multiple of 16, got {out_channels}")
    return out_channels // LEVELS


def init_convolutions(module: nn.Module) -> None:
    """He initialisation of every convolution, batch norm to scale 1 and shift 1e-4.

    Follows the published DBNet code. Transposed convolutions here have a stride equal to
    their kernel, so each output pixel sees `in_channels` values, and that is their fan-in;
    the published code uses `out_channels * k * k` instead.
    """
    for part in module.modules():
        if isinstance(part, nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=(2.0 / part.in_channels) ** 0.5)
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.constant_(part.weight, 1.0)
            nn.init.constant_(part.bias, 1e-4)
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.bias is not None:
            nn.init.zeros_(part.bias)


def conv_bn_relu(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> nn.Sequential:
    """A convolution without bias that keeps the size, or divides it by `stride`; norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Every pixel of `(N, C, H, W)` repeated `factor` times on both axes, in the same dtype."""
    # A GPU's autocast enlarges in float32; copies of values need no more than they had.
    return F.interpolate(x, scale_factor=float(factor), mode="nearest").to(x.dtype)


def _to_finest(levels: Sequence[Tensor]) -> list[Tensor]:
    """Levels of strides 4, 8, 16, 32 brought to stride 4, in the order 32, 16, 8, 4."""
    return [enlarge(m, 2**i) if i else m for i, m in reversed(list(enumerate(levels)))]
