"""The network that several processes share, as far as one process can tell."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from detector.core.errors import InputError
from detector.training.distributed.network import SharedNetwork, share_statistics, synchronous


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), BatchNormAct2d(4))


@pytest.mark.parametrize("device", ["cpu", "meta"])  # meta takes the way of the GPUs
def test_names_weights_and_statistics_stay(device: str):
    model = network().to(device)
    before, weights = copy.copy(model.state_dict()), list(model.parameters())
    share_statistics(model, SharedNetwork())
    assert list(model.state_dict()) == list(before)
    assert all(model.state_dict()[k].data_ptr() == v.data_ptr() for k, v in before.items())
    assert all(mine is theirs for mine, theirs in zip(model.parameters(), weights, strict=True))
    assert len(synchronous(model)) == 2


def test_gpus_get_the_norms_of_torch():
    model = network().to("meta")
    share_statistics(model, SharedNetwork())
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in synchronous(model))


def test_evaluation_is_that_of_the_plain_norms():
    torch.manual_seed(0)
    model, images = network(), torch.randn(2, 3, 5, 5)
    model(images)
    expected = copy.deepcopy(model).eval()(images)
    share_statistics(model, SharedNetwork())
    assert torch.equal(model.eval()(images), expected)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4, momentum=None), nn.BatchNorm2d(4, affine=False), nn.BatchNorm3d(4)]
)
def test_other_kinds_of_batch_norm_are_refused(norm: nn.Module):
    message = rf"^train\.processes: .*of 1 \({type(norm).__name__}\); use 1 or another model\.back"
    with pytest.raises(InputError, match=message):
        share_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), norm), SharedNetwork())


def test_a_rehearsal_counts_for_the_weights_that_were_trained_then():
    model, shared = network(), SharedNetwork()
    assert not shared.has_room(model, 1)
    shared.rehearsed(model, 100)
    assert shared.has_room(model, 100)
    assert not shared.has_room(model, 101)
    assert not shared.has_room(network(), 100)
    model[0].requires_grad_(False)
    assert not shared.has_room(model, 100)
