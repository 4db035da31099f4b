"""One branch of the DB head: fused features in, logits at the size of the image out."""

from __future__ import annotations

import math

from torch import Tensor, nn

from detector.model.neck import init_convolutions


class Head(nn.Module):
    """conv3x3, BN, ReLU, deconv2x2, BN, ReLU, deconv2x2 (arXiv:1911.08947, section 3.1).

    `prior` is the output probability before any training. A branch that predicts rare
    pixels starts near their rate, so that the first steps do not go into learning the base
    rate (arXiv:1708.02002, section 3.3).
    """

    def __init__(self, in_channels: int, *, prior: float = 0.5) -> None:
        super().__init__()
        width = in_channels // 4
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, width, 2, stride=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.logits = nn.ConvTranspose2d(width, 1, 2, stride=2)
        init_convolutions(self)
        assert self.logits.bias is not None
        # Small weights: the first logits are close to the prior everywhere.
        nn.init.normal_(self.logits.weight, std=0.1 / width**0.5)
        nn.init.constant_(self.logits.bias, math.log(prior / (1 - prior)))

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(N, 1, 4 H, 4 W)` from features `(N, in_channels, H, W)` at stride 4."""
        return self.logits(self.layers(features))
