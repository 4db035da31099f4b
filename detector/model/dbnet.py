"""The detector: DBNet (arXiv:1911.08947) and DBNet++ (arXiv:2202.10304) in one class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from detector.model.backbone import Backbone
from detector.model.fusion import make_fusion
from detector.model.head import Head
from detector.model.neck import NECKS

# About the share of a receipt that shrunk words cover.
_TEXT_PRIOR = 0.1


class Maps(NamedTuple):
    """Logits at the size of the image; `sigmoid` makes them probabilities.

    `probability`: `(N, 1, H, W)`, text kernel or not.
    `threshold`: `(N, 1, H, W)`, the adaptive threshold; None outside training.
    """

    probability: Tensor
    threshold: Tensor | None


class Network(nn.Module):
    """What every text detector here is: features at stride 4, and two branches that read them.

    `backbone` has a `name` and learns at a rate of its own; it makes a list of maps, the finest
    first. The threshold branch only shapes the training; in eval mode it is not run. `mean` and
    `std` are the RGB statistics the input is normalised with. Works in float32 and under
    autocast, in either memory format.
    """

    backbone: Any
    probability: nn.Module
    threshold: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __init__(self) -> None:
        super().__init__()
        self._maps: Callable[[Network, Tensor], Maps] = Network._plain

    def features(self, images: Tensor) -> Tensor:
        """What both branches read, `(N, C, H / 4, W / 4)`."""
        raise NotImplementedError

    def metadata(self) -> dict[str, str]:
        """What is kept beside the weights, since no setting says it."""
        return {}

    def compile_training(self) -> None:
        """Call the network by torch.compile in training mode from now on.

        In eval mode, where pages have many sizes, it stays as it is; the names of weights do too.
        """
        self._maps = torch.compile(Network._plain)

    def forward(self, images: Tensor) -> Maps:
        """Logit maps of normalised RGB `images` `(N, 3, H, W)`, H and W multiples of 32.

        Raises ValueError for another size.
        """
        if not torch.jit.is_tracing() and (images.shape[-2] % 32 or images.shape[-1] % 32):
            height, width = images.shape[-2:]
            raise ValueError(
                f"image sides must be multiples of 32, got {height} x {width}; pad first"
            )
        return self._maps(self, images) if self.training else self._plain(images)

    def _plain(self, images: Tensor) -> Maps:
        features = self.features(images)
        threshold = self.threshold(features) if self.training else None
        return Maps(self.probability(features), threshold)


class DBNet(Network):
    """Backbone, neck, fusion and the two branches of the head.

    With `norm_maps` each map of the backbone first passes a layer norm over its channels.
    """

    def __init__(
        self,
        backbone: Backbone,
        neck: nn.Module,
        fusion: nn.Module,
        width: int,
        upsample: str = "deconv",
        *,
        norm_maps: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.norms = nn.ModuleList(LayerNorm2d(c) for c in backbone.channels if norm_maps)
        self.neck = neck
        self.fusion = fusion
        self.probability = Head(width, prior=_TEXT_PRIOR, upsample=upsample)
        self.threshold = Head(width, upsample=upsample)
        self.mean = backbone.mean
        self.std = backbone.std

    def features(self, images: Tensor) -> Tensor:
        maps = self.backbone(images)
        if len(self.norms):
            maps = [norm(m) for norm, m in zip(self.norms, maps, strict=True)]
        fused: Tensor = self.fusion(self.neck(maps))
        return fused


def build_model(
    *,
    backbone: str,
    neck: str,
    neck_channels: int,
    fusion: str,
    upsample: str = "deconv",
    drop_path: float = 0.0,
    norm_maps: bool = True,
) -> DBNet:
    """A DBNet with new weights, drawn from torch's global generator.

    `fusion="none"` is DBNet, the two attentions are DBNet++; `upsample` is that of the head.
    `drop_path` as in `Backbone`. With `norm_maps` the maps of a backbone without batch norm
    are normalised. Raises InputError for a backbone that cannot be used and ValueError for
    another wrong name or width.
    """
    if neck not in NECKS:
        raise ValueError(f"neck must be one of {', '.join(NECKS)}, got {neck!r}")
    body = Backbone(backbone, drop_path=drop_path)
    return DBNet(
        body,
        NECKS[neck](body.channels, neck_channels),
        make_fusion(fusion, neck_channels),
        neck_channels,
        upsample,
        norm_maps=norm_maps and not body.batch_normalised,
    )


def metadata_beside(network: nn.Module) -> dict[str, str]:
    """What is kept beside the weights of a network; of another module they say all."""
    return network.metadata() if isinstance(network, Network) else {}


def count_parameters(model: nn.Module) -> int:
    """Number of weights that are trained, the threshold branch included."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
