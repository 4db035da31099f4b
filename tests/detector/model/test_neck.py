from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.model.memory import autocast, needed
from detector.model.neck import FPN, NECKS, UNet, init_convolutions

CHANNELS = (3, 5, 7, 11)


def pyramid(height: int = 64, width: int = 96, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, c, height // s, width // s, generator=g)
        for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


def repeat(x: Tensor, factor: int) -> Tensor:
    """Nearest enlargement written as a repetition of pixels."""
    return x.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def kernel(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    return layer.weight


@pytest.mark.parametrize("name", NECKS)
def test_every_level_comes_out_at_stride_4_with_a_quarter_of_the_channels(name: str) -> None:
    out = NECKS[name](CHANNELS, 32)(pyramid())
    assert [tuple(m.shape) for m in out] == [(2, 8, 16, 24)] * 4


def test_fpn_by_its_definition() -> None:
    neck = FPN(CHANNELS, 16)
    c2, c3, c4, c5 = pyramid()
    l2, l3, l4, l5 = map(kernel, neck.laterals)
    s2, s3, s4, s5 = map(kernel, neck.smooth)
    p5 = F.conv2d(c5, l5)
    p4 = F.conv2d(c4, l4) + repeat(p5, 2)
    p3 = F.conv2d(c3, l3) + repeat(p4, 2)
    p2 = F.conv2d(c2, l2) + repeat(p3, 2)
    expected = [
        repeat(F.conv2d(p, s, padding=1), k)
        for p, s, k in ((p5, s5, 8), (p4, s4, 4), (p3, s3, 2), (p2, s2, 1))
    ]
    for ours, theirs in zip(neck((c2, c3, c4, c5)), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_unet_by_its_definition() -> None:
    neck = UNet(CHANNELS, 16).eval()
    c2, c3, c4, c5 = pyramid()
    d5 = neck.bottom(c5)
    d4 = neck.steps[2](torch.cat([repeat(d5, 2), c4], dim=1))
    d3 = neck.steps[1](torch.cat([repeat(d4, 2), c3], dim=1))
    d2 = neck.steps[0](torch.cat([repeat(d3, 2), c2], dim=1))
    assert [d.shape[1] for d in (d2, d3, d4, d5)] == [4, 8, 16, 16]
    pairs = zip((d5, d4, d3, d2), reversed(neck.reduce), (8, 4, 2, 1), strict=True)
    expected = [repeat(conv(d), k) for d, conv, k in pairs]
    for ours, theirs in zip(neck([c2, c3, c4, c5]), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NECKS)
def test_every_map_reaches_every_finer_level(name: str) -> None:
    neck = NECKS[name](CHANNELS, 16).eval()
    maps = pyramid()
    before = neck(maps)
    maps[2] = maps[2] + 1  # stride 16
    changed = [not torch.equal(a, b) for a, b in zip(before, neck(maps), strict=True)]
    assert changed == [False, True, True, True]


@pytest.mark.parametrize("width", [0, 8, 20, -16])
def test_a_width_that_does_not_divide_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"positive multiple of 16, got {width}"):
        FPN(CHANNELS, width)


def test_initialisation() -> None:
    torch.manual_seed(0)
    conv, deconv, norm = nn.Conv2d(64, 64, 3), nn.ConvTranspose2d(64, 64, 2, 2), nn.BatchNorm2d(4)
    init_convolutions(nn.ModuleList([conv, deconv, norm]))
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert deconv.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert conv.bias is not None
    assert not conv.bias.any()
    assert norm.weight.tolist() == [1.0] * 4
    assert norm.bias.tolist() == pytest.approx([1e-4] * 4)


@pytest.mark.parametrize("name", NECKS)
def test_a_gpus_autocast_keeps_the_levels_at_16_bits(name: str) -> None:
    """Enlarged maps of float32 would take twice the memory, for copies of the same values."""
    with torch.device("meta"):
        neck = NECKS[name]([16, 24, 32, 48], 32)
    found = []

    def work(network: nn.Module, *maps: Tensor) -> list[Tensor]:
        with autocast(torch.bfloat16):
            found.extend(network(maps))
        return found

    shapes = [(1, c, 64 // s, 64 // s) for c, s in zip([16, 24, 32, 48], [1, 2, 4, 8], strict=True)]
    needed(neck, shapes, work)
    assert [level.dtype for level in found] == [torch.bfloat16] * 4
