"""FSNet, the backbone of MixNet (arXiv:2308.12817): resolutions that shuffle their channels.

HRNet adds maps of several resolutions to each other again and again. FSNet cuts each of them into
as many parts as there are resolutions and deals these out, so that each resolution goes on with a
part of every other one.

Written from the paper's description. Where it leaves something open this is decided here: one width
at all resolutions, so that dealing keeps it; averages and nearest neighbours to change a part's
size, which have no weights; and sizes that are compared with HRNet-W18's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from timm.models import FeatureInfo
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from detector.model.neck import conv_bn_relu, enlarge

STRIDES = (4, 8, 16, 32)
# Width, and blocks of each resolution in the stages with one to four resolutions: four tenths and
# nine tenths of the work of HRNet-W18.
FSNETS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "fsnet_s": (48, (2, 2, 2, 2)),
    "fsnet_m": (60, (2, 3, 4, 3)),
}


class FSNet(nn.Module):
    """Four maps of `width` channels, finest first, of images `(N, 3, H, W)`.

    Two convolutions halve the side each, then come four stages. A stage adds a resolution of half
    the side, passes every resolution through `blocks` residual blocks and shuffles. With
    `drop_path` training skips the last block at this rate, and earlier ones less often
    (arXiv:1603.09382).

    Raises ValueError unless `width` can be cut into two, three and four equal parts.
    """

    def __init__(self, width: int, blocks: Sequence[int], *, drop_path: float = 0.0) -> None:
        super().__init__()
        if width < 12 or width % 12:
            raise ValueError(f"width must be a positive multiple of 12, got {width}")
        self.feature_info = FeatureInfo(
            [{"num_chs": width, "reduction": s, "module": f"stride {s}"} for s in STRIDES],
            out_indices=(0, 1, 2, 3),
        )
        self.stem = nn.Sequential(
            conv_bn_relu(3, width, kernel=3, stride=2),
            conv_bn_relu(width, width, kernel=3, stride=2),
        )
        rates = [drop_path * i / (sum(blocks) - 1) for i in range(sum(blocks))]
        self.stages = nn.ModuleList()
        for number, count in enumerate(blocks):
            self.stages.append(_Stage(width, number + 1, rates[:count]))
            rates = rates[count:]
        self._recompute = False
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(part, _Block):  # a block begins as what it is added to
                nn.init.zeros_(part.last.weight)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether a backward pass computes a stage again instead of keeping what is in it."""
        self._recompute = enable

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps `(N, width, H / s, W / s)` for the strides 4, 8, 16 and 32."""
        maps = [self.stem(images)]
        for stage in self.stages:
            if self._recompute and torch.is_grad_enabled():
                maps = checkpoint(stage, maps, use_reentrant=False)
            else:
                maps = stage(maps)
        return maps


def shuffle(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps of the same sizes, each of one part of every map in their order.

    `maps` are `(N, C, H / 2**i, W / 2**i)`, finest first, and C is a multiple of their number.
    Map `i` gets part `i` of each, made smaller by averages and larger by nearest neighbours.
    """
    parts = [m.chunk(len(maps), dim=1) for m in maps]
    return [
        torch.cat([_resize(own[i], j - i) for j, own in enumerate(parts)], dim=1)
        for i in range(len(maps))
    ]


def _resize(part: Tensor, doublings: int) -> Tensor:
    """A part with its sides doubled so often; a negative number halves them."""
    if doublings < 0:
        return F.avg_pool2d(part, 2**-doublings)
    return enlarge(part, 2**doublings) if doublings else part


class _Stage(nn.Module):
    """A new resolution, blocks for all of them, and the shuffle."""

    def __init__(self, width: int, resolutions: int, rates: Sequence[float]) -> None:
        super().__init__()
        self.halve = conv_bn_relu(width, width, kernel=3, stride=2) if resolutions > 1 else None
        self.branches = nn.ModuleList(
            nn.Sequential(*(_Block(width, rate) for rate in rates)) for _ in range(resolutions)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        new = [] if self.halve is None else [self.halve(maps[-1])]
        branches = zip(self.branches, [*maps, *new], strict=True)
        return shuffle([branch(m) for branch, m in branches])


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to what comes in (arXiv:1512.03385)."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.first = conv_bn_relu(width, width, kernel=3)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.last = nn.BatchNorm2d(width)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.drop_path(self.last(self.second(self.first(x)))))
