from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from detector.optim import build_optimizer, freeze, lr_factor, parameter_groups, set_lr


def small_model() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "head": nn.Conv2d(4, 1, 1),
        }
    )


def test_groups_hold_each_parameter_once_with_its_rate_and_decay():
    model = small_model()
    groups = parameter_groups(
        model, backbone=model["backbone"], lr=0.1, backbone_lr_ratio=0.5, weight_decay=0.01
    )
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (0.05, 0.01, 1),  # backbone convolution
        (0.05, 0.0, 3),  # its bias and the two of the normalisation
        (0.1, 0.01, 1),
        (0.1, 0.0, 1),
    ]


def test_ratio_zero_leaves_the_backbone_out():
    model = small_model()
    groups = parameter_groups(
        model, backbone=model["backbone"], lr=0.1, backbone_lr_ratio=0, weight_decay=0
    )
    assert sum(len(g["params"]) for g in groups) == 2


def test_a_frozen_backbone_keeps_its_weights_and_statistics():
    model = small_model().train()
    freeze(model["backbone"], frozen=True)
    assert not any(p.requires_grad for p in model["backbone"].parameters())
    before = copy.deepcopy(model["backbone"].state_dict())
    model["backbone"](torch.randn(4, 3, 8, 8))
    after = model["backbone"].state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    model.train()
    freeze(model["backbone"], frozen=False)
    assert all(p.requires_grad for p in model["backbone"].parameters())
    assert model["backbone"].training


def test_cosine_by_hand():
    settings = {"total_steps": 12, "warmup_steps": 2, "schedule": "cosine"}
    assert lr_factor(0, **settings) == 0.5
    assert lr_factor(1, **settings) == 1.0
    assert lr_factor(2, **settings) == pytest.approx(1.0)
    assert lr_factor(7, **settings) == pytest.approx(0.01 + 0.99 * 0.5)
    assert lr_factor(12, **settings) == pytest.approx(0.01)


def test_poly_by_hand():
    got = lr_factor(5, total_steps=10, warmup_steps=0, schedule="poly")
    assert got == pytest.approx(0.5**0.9)


@given(
    step=st.integers(0, 1000),
    warmup=st.integers(0, 50),
    schedule=st.sampled_from(["cosine", "poly", "constant"]),
)
def test_factor_is_a_positive_share(step: int, warmup: int, schedule: str):
    factor = lr_factor(step, total_steps=400, warmup_steps=warmup, schedule=schedule)
    assert 0 < factor <= 1


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_set_lr_scales_every_group_from_its_peak(name: str):
    model = small_model()
    groups = parameter_groups(
        model, backbone=model["backbone"], lr=0.1, backbone_lr_ratio=0.5, weight_decay=0.01
    )
    optimizer = build_optimizer(groups, name=name, momentum=0.9)
    set_lr(optimizer, 0.5)
    assert set_lr(optimizer, 0.1) == pytest.approx(0.01)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.005, 0.005, 0.01, 0.01])
    model["head"](torch.ones(1, 4, 1, 1)).sum().backward()
    optimizer.step()
