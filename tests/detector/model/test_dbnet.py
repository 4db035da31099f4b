from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from detector.core.errors import InputError
from detector.model.dbnet import DBNet, build_model, count_parameters
from detector.model.fusion import FUSIONS, Concatenate
from detector.model.head import UPSAMPLES

LITE = "mobilenetv3_small_100"


def small(**changes: object) -> DBNet:
    torch.manual_seed(0)
    values = {"backbone": LITE, "neck": "fpn", "neck_channels": 32, "fusion": "none"} | changes
    return build_model(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("neck", ["fpn", "unet"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_neck_goes_with_every_fusion(neck: str, fusion: str) -> None:
    model = small(neck=neck, fusion=fusion).eval()
    with torch.no_grad():
        maps = model(torch.randn(1, 3, 96, 64))
    assert maps.probability.shape == (1, 1, 96, 64)
    assert maps.threshold is None  # the threshold branch only serves the training


def test_dbnet_is_dbnetpp_without_the_attention() -> None:
    plain, fused = small(), small(fusion="scale_spatial")
    assert isinstance(plain.fusion, Concatenate)
    extra = set(fused.state_dict()) - set(plain.state_dict())
    assert extra
    assert all(k.startswith("fusion.") for k in extra)
    assert set(plain.state_dict()) < set(fused.state_dict())


def test_the_two_branches_share_no_weights() -> None:
    model = small()
    mine = {id(p) for p in model.probability.parameters()}
    assert not mine & {id(p) for p in model.threshold.parameters()}


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_finite_gradients(
    dtype: torch.dtype, upsample: str, loss_of: Callable
) -> None:
    model = small(fusion="scale_channel_spatial", upsample=upsample)
    with torch.autocast("cpu", dtype=dtype):
        total = loss_of(model, torch.randn(2, 3, 64, 64))
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_head_upsamples_as_told_and_the_default_has_the_tensors_it_always_had() -> None:
    plain, smooth = small(), small(upsample="smooth").eval()
    assert isinstance(plain.probability.logits, nn.ConvTranspose2d)
    assert [k for k in plain.state_dict() if k.startswith("threshold.") and "weight" in k] == [
        f"threshold.{k}.weight" for k in ("layers.0", "layers.1", "layers.3", "layers.4", "logits")
    ]
    for branch in (smooth.probability, smooth.threshold):
        assert not [m for m in branch.modules() if isinstance(m, nn.ConvTranspose2d)]
    with torch.no_grad():
        assert smooth(torch.randn(1, 3, 96, 64)).probability.shape == (1, 1, 96, 64)


@pytest.mark.parametrize("neck", ["fpn", "unet"])
def test_channels_last_gives_the_same_maps(neck: str) -> None:
    model = small(neck=neck, fusion="scale_channel_spatial").eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = model(images).probability
        model.to(memory_format=torch.channels_last)
        turned = model(images.contiguous(memory_format=torch.channels_last)).probability
    torch.testing.assert_close(turned, expected, rtol=1e-3, atol=1e-4)


def test_under_autocast_both_maps_are_float32_and_near_those_of_float32() -> None:
    model = small(fusion="scale_channel_spatial")
    images = torch.randn(2, 3, 64, 96)
    expected = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    for mine, plain in zip(maps, expected, strict=True):
        assert mine.dtype == torch.float32
        mine.sum().backward(retain_graph=True)
        torch.testing.assert_close(torch.sigmoid(mine), torch.sigmoid(plain), rtol=0, atol=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_seed_decides_the_weights() -> None:
    ours, again = small().state_dict(), small().state_dict()
    assert all(torch.equal(ours[k], again[k]) for k in ours)


def test_starts_with_little_text() -> None:
    model = small()
    probability = torch.sigmoid(model(torch.randn(2, 3, 64, 64)).probability)
    assert 0.05 < probability.mean().item() < 0.2


def test_count_parameters_counts_what_is_trained() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert count_parameters(model) == 3 * 4 + 4 + 2 * 4
    model[0].requires_grad_(False)
    assert count_parameters(model) == 2 * 4


def test_wrong_input_is_refused_with_a_remedy() -> None:
    model = small()
    with pytest.raises(ValueError, match="multiples of 32, got 64 x 70; pad first"):
        model(torch.zeros(1, 3, 64, 70))
    with pytest.raises(InputError, match="close names"):
        small(backbone="resnet19")
    with pytest.raises(ValueError, match="neck must be one of fpn, unet, got 'pan'"):
        small(neck="pan")


def test_maps_of_a_backbone_without_batch_norm_reach_the_neck_at_one_scale() -> None:
    model = small(backbone="convnextv2_atto").eval()
    seen: list[torch.Tensor] = []
    model.neck.register_forward_pre_hook(lambda _, given: seen.extend(given[0]))
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        model(images)
        raw = model.backbone(images)
    assert [m.std() > 0.8 for m in raw] == [True, False, False, False]
    for given, m in zip(seen, raw, strict=True):
        mean, variance = m.mean(1, keepdim=True), m.var(1, keepdim=True, correction=0)
        torch.testing.assert_close(given, (m - mean) / (variance + 1e-6).sqrt())
    names = {k for k, _ in model.named_parameters() if k.startswith("norms.")}
    assert names == {f"norms.{i}.{kind}" for i in range(4) for kind in ("weight", "bias")}


def test_a_backbone_with_batch_norm_has_the_network_it_always_had() -> None:
    ours, plain = small().state_dict(), small(norm_maps=False).state_dict()
    assert list(ours) == list(plain)
    assert all(torch.equal(ours[k], plain[k]) for k in ours)
    assert not [
        k
        for k in small(backbone="convnextv2_atto", norm_maps=False).state_dict()
        if k.startswith("norms.")
    ]
