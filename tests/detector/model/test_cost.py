from __future__ import annotations

from functools import partial

import pytest
import timm
import torch
from torch import nn

from detector.model.cost import count_macs, measure
from detector.model.dbnet import DBNet, build_model


def small(upsample: str = "deconv") -> DBNet:
    return build_model(
        backbone="resnet18", neck="fpn", neck_channels=32, fusion="none", upsample=upsample
    )


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        # every output value of a convolution takes inputs / groups * kernel products
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 10 * 12 * 8 * 3 * 9),
        (nn.Conv2d(6, 6, 5, stride=2, padding=2, groups=6), (1, 6, 8, 8), 4 * 4 * 6 * 25),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), (1, 4, 5, 5), 5 * 5 * 4 * 2 * 4),
        (nn.Linear(7, 3), (1, 11, 7), 11 * 7 * 3),
        # 2 heads of 9 tokens, 4 wide: queries by keys, then weights by values
        (Attention(), (1, 2, 9, 4), 2 * (9 * 4 * 9) * 2),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Upsample(scale_factor=2)), (1, 3, 4, 4), 0),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_macs_counted_by_hand(
    layer: nn.Module, shape: tuple[int, ...], macs: int, device: str
) -> None:
    assert count_macs(layer.eval().to(device), torch.zeros(shape, device=device)) == macs


def test_resnet18_has_the_macs_it_is_known_for() -> None:
    with torch.device("meta"):
        macs = count_macs(timm.create_model("resnet18").eval(), torch.empty(1, 3, 224, 224))
    assert macs / 1e9 == pytest.approx(1.814, abs=0.001)  # 1.82 with batch norm and pooling


def test_the_parts_of_a_detector() -> None:
    """By hand: FPN, concatenation and head on resnet18, 64 x 64 pixels, 32 channels."""
    cost = measure(small, 64)
    laterals = 32 * (64 * 256 + 128 * 64 + 256 * 16 + 512 * 4)
    smooth = 9 * 32 * 8 * (256 + 64 + 16 + 4)
    head = 256 * (9 * 32 * 8 + 8 * 8 * 4) + 1024 * 8 * 4
    assert cost.rest_macs == laterals + smooth + head
    assert cost.threshold_macs == head
    # stem at stride 2, then four stages of four 3x3 convolutions, three with a 1x1 shortcut
    first = 32 * 32 * 64 * 3 * 49 + 4 * 256 * 64 * 64 * 9
    later = sum(n * c * c * (9 * 3 + 9 / 2 + 1 / 2) for n, c in ((64, 128), (16, 256), (4, 512)))
    assert cost.backbone_macs == first + later
    network = small()
    assert cost.backbone_parameters == sum(p.numel() for p in network.backbone.parameters())
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    assert cost.macs == cost.backbone_macs + cost.rest_macs


def test_smooth_upsampling_costs_what_its_convolutions_do() -> None:
    plain, smooth = (measure(partial(small, upsample=u), 64) for u in ("deconv", "smooth"))
    # at stride 2 and 1: 3x3 convolutions of 8 to 8 and to 1 channels, for 2x2 transposed ones
    assert smooth.macs - plain.macs == (1024 * 64 * 9 + 4096 * 8 * 9) - (256 * 64 * 4 + 1024 * 32)
