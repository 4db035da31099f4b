from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from detector.model.norm import keep_single_values, statistics_kept


@pytest.fixture(params=[nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d])
def layer(request) -> nn.Module:
    norm = request.param(3, eps=0.5)
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(3) + 1)
    return norm


def test_one_value_per_channel_is_normalised_by_what_is_known(layer: nn.Module):
    shape = (1, 3) if isinstance(layer, nn.BatchNorm1d) else (1, 3, 1, 1)
    values = torch.tensor([2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(values.reshape(shape))
    keep_single_values(nn.Sequential(layer))
    before = copy.deepcopy(layer.state_dict())
    given = values.reshape(shape).requires_grad_()
    found = layer(given)
    scale = before["weight"] / (before["running_var"] + 0.5).sqrt()
    expected = (values - before["running_mean"]) * scale + before["bias"]
    if isinstance(layer, BatchNormAct2d):  # its activation
        expected = expected.relu()
    torch.testing.assert_close(found.flatten(), expected)
    found.sum().backward()
    assert given.grad is not None
    assert layer.training
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_more_values_are_normalised_as_ever(layer: nn.Module, training: bool):
    plain = copy.deepcopy(layer)
    keep_single_values(layer)
    values = torch.rand(2, 3) if isinstance(layer, nn.BatchNorm1d) else torch.rand(1, 3, 1, 2)
    assert torch.equal(layer.train(training)(values), plain.train(training)(values))
    assert layer.training == training
    own = layer.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_within_the_block_a_batch_is_normalised_and_not_counted(momentum: float | None):
    norm = nn.BatchNorm2d(3, momentum=momentum)
    images = torch.randn(2, 3, 4, 4)
    plain = copy.deepcopy(norm)(images)
    before = copy.deepcopy(norm.state_dict())
    with statistics_kept(nn.Sequential(norm)):
        assert torch.equal(norm(images), plain)
    assert norm.momentum == momentum
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    norm(images)
    assert int(norm.num_batches_tracked) == 1
    assert not torch.equal(norm.running_mean, before["running_mean"])
