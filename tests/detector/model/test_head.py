from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from detector.model.head import UPSAMPLES, Head


@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_logits_have_four_times_the_side(upsample: str) -> None:
    assert Head(32, upsample=upsample)(torch.randn(2, 32, 5, 7)).shape == (2, 1, 20, 28)


@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_starts_near_its_prior_everywhere(prior: float, upsample: str) -> None:
    torch.manual_seed(0)
    head = Head(96, prior=prior, upsample=upsample)
    probability = torch.sigmoid(head(torch.randn(2, 96, 16, 16)))
    assert probability.mean().item() == pytest.approx(prior, rel=0.15)
    assert probability.std().item() < 0.05


def test_has_the_published_layers() -> None:
    # conv 3x3, two batch norms, deconv 2x2, deconv 2x2 to one map with a bias
    head = Head(64)
    expected = 64 * 16 * 9 + 2 * 16 + 16 * 16 * 4 + 2 * 16 + 16 * 4 + 1
    assert sum(p.numel() for p in head.parameters()) == expected


def doubled(x: Tensor) -> Tensor:
    """Bilinear enlargement by two: 3/4 of the nearer pixel, 1/4 of the farther, on each axis."""
    for axis in (2, 3):
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
        before = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
        after = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), last], axis)
        pairs = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.flatten(axis, axis + 1)
    return x


def test_smooth_is_bilinear_enlargement_and_a_3x3_convolution_twice() -> None:
    torch.manual_seed(0)
    head = Head(64, upsample="smooth").eval()
    # conv 3x3, two batch norms, conv 3x3, conv 3x3 to one map with a bias
    expected = 64 * 16 * 9 + 2 * 16 + 16 * 16 * 9 + 2 * 16 + 16 * 9 + 1
    assert sum(p.numel() for p in head.parameters()) == expected
    tensors = head.state_dict()
    features = torch.randn(2, 64, 5, 7)
    x = F.relu(head.layers[1](F.conv2d(features, tensors["layers.0.weight"], padding=1)))
    x = F.conv2d(doubled(x), tensors["layers.3.1.weight"], padding=1)
    x = doubled(F.relu(head.layers[4](x)))
    x = F.conv2d(x, tensors["logits.1.weight"], tensors["logits.1.bias"], padding=1)
    torch.testing.assert_close(head(features), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_under_autocast_the_last_layer_is_float32(upsample: str) -> None:
    torch.manual_seed(0)
    head = Head(64, upsample=upsample)
    torch.nn.init.normal_(head.logits[1].weight if upsample == "smooth" else head.logits.weight)
    features = torch.randn(2, 64, 5, 7)
    plain = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, logits = head.layers(features), head(features)
    assert hidden.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, head.logits(hidden.float()), rtol=0, atol=0)
    assert (logits - plain).abs().max() < 0.01 * plain.abs().max()


def test_an_even_map_stays_even_with_smooth() -> None:
    """A transposed convolution repeats its four weights over an even map; this does not."""
    torch.manual_seed(0)
    inner = Head(64, upsample="smooth").eval()(torch.ones(1, 64, 8, 8))[..., 12:-12, 12:-12]
    assert (inner.max() - inner.min()).item() < 1e-5
    checkered = Head(64).eval()(torch.ones(1, 64, 8, 8))[..., 12:-12, 12:-12]
    assert (checkered.max() - checkered.min()).item() > 1e-2


def test_an_unknown_upsampling_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="one of deconv, smooth, got 'nearest'"):
        Head(64, upsample="nearest")
