from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from detector.model.fusion import FUSIONS, AdaptiveScaleFusion, make_fusion


def levels(width: int = 4, side: int = 3, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(2, width, side, side + 1, generator=g) for _ in range(4)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def convolve(image: list, weight: Tensor, bias: Tensor | None) -> list:
    """Zero-padded convolution of nested lists [channel][y][x] with loops only."""
    outputs, inputs, side, _ = weight.shape
    height, width, half = len(image[0]), len(image[0][0]), side // 2
    result = []
    for o in range(outputs):
        start = float(bias[o]) if bias is not None else 0.0
        plane = [[start] * width for _ in range(height)]
        for y in range(height):
            for x in range(width):
                for i in range(inputs):
                    for dy in range(side):
                        for dx in range(side):
                            v, u = y + dy - half, x + dx - half
                            if 0 <= v < height and 0 <= u < width:
                                plane[y][x] += float(weight[o, i, dy, dx]) * image[i][v][u]
        result.append(plane)
    return result


def each(planes: list, function: Callable[[float], float]) -> list:
    return [[[function(v) for v in row] for row in plane] for plane in planes]


def kernel(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    return layer.weight


def reference(fusion: AdaptiveScaleFusion, maps: list[Tensor], n: int) -> Tensor:
    """Adaptive Scale Fusion of one image, from the formula, with loops."""
    stacked = torch.cat([m[n] for m in maps]).tolist()
    height, width = len(stacked[0]), len(stacked[0][0])
    s = convolve(stacked, fusion.reduce.weight, fusion.reduce.bias)
    assert isinstance(fusion.spatial, nn.Sequential)
    if fusion.channel is not None:
        assert isinstance(fusion.channel, nn.Sequential)
        pooled = [[[sum(map(sum, plane)) / (height * width)]] for plane in s]
        hidden = each(convolve(pooled, kernel(fusion.channel[1]), None), lambda v: max(v, 0.0))
        gate = each(convolve(hidden, kernel(fusion.channel[3]), None), sigmoid)
        s = [
            [[v + gate[c][0][0] for v in row] for row in plane]  # added, not multiplied
            for c, plane in enumerate(s)
        ]
    mean = [[[sum(p[y][x] for p in s) / len(s) for x in range(width)] for y in range(height)]]
    inner = each(convolve(mean, kernel(fusion.spatial[0]), None), lambda v: max(v, 0.0))
    spatial = each(convolve(inner, kernel(fusion.spatial[2]), None), sigmoid)[0]
    s = [[[p[y][x] + spatial[y][x] for x in range(width)] for y in range(height)] for p in s]
    planes = each(convolve(s, fusion.weigh.weight, None), sigmoid)
    attention = torch.tensor(planes, dtype=maps[0].dtype)
    return torch.cat([attention[i] * maps[i][n] for i in range(4)])


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("height", "width"), [(3, 4), (1, 1), (5, 2)])
@pytest.mark.parametrize("name", ["scale_spatial", "scale_channel_spatial"])
def test_equals_the_formula_written_with_loops(
    name: str, height: int, width: int, dtype: torch.dtype, near: float
) -> None:
    torch.manual_seed(3)
    fusion = make_fusion(name, 16).to(dtype)
    assert isinstance(fusion, AdaptiveScaleFusion)
    assert fusion.reduce.bias is not None
    torch.nn.init.uniform_(fusion.reduce.bias, -1, 1)
    maps = [torch.randn(2, 4, height, width, dtype=dtype) for _ in range(4)]
    with torch.no_grad():
        ours = fusion(maps)
        for n in range(2):
            expected = reference(fusion, maps, n)
            torch.testing.assert_close(ours[n], expected, rtol=near, atol=near)


def test_none_is_the_concatenation_in_the_order_given() -> None:
    maps = levels()
    fused = make_fusion("none", 16)(maps)
    assert fused.shape == (2, 16, 3, 4)
    for i, m in enumerate(maps):
        assert torch.equal(fused[:, 4 * i : 4 * i + 4], m)


def test_weights_of_one_half_halve_the_levels() -> None:
    fusion = make_fusion("scale_spatial", 16)
    assert isinstance(fusion, AdaptiveScaleFusion)
    torch.nn.init.zeros_(fusion.weigh.weight)
    maps = levels()
    torch.testing.assert_close(fusion(maps), torch.cat(maps, dim=1) / 2)


def test_only_the_first_convolution_has_a_bias() -> None:
    fusion = make_fusion("scale_channel_spatial", 32)
    assert [k for k, _ in fusion.named_parameters() if k.endswith("bias")] == ["reduce.bias"]
    # 32 x 8 x 9 + 8, then 8 x 2 + 2 x 8, then 9 + 1, then 8 x 4
    assert sum(p.numel() for p in fusion.parameters()) == 2312 + 32 + 10 + 32


@pytest.mark.parametrize("name", FUSIONS)
def test_memory_format_does_not_change_the_result(name: str) -> None:
    fusion = make_fusion(name, 16)
    maps = levels()
    expected = fusion(maps)
    turned = fusion([m.contiguous(memory_format=torch.channels_last) for m in maps])
    torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-5)
    assert turned.is_contiguous(memory_format=torch.channels_last)


def test_an_unknown_name_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="none, scale_spatial, scale_channel_spatial, got 'scale'"):
        make_fusion("scale", 16)
