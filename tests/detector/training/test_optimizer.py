from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from detector.config.settings import OptimizerConfig
from detector.config.training import DEFAULT_LR, peak_lr
from detector.training.optimizer import (
    Average,
    build_optimizer,
    freeze,
    lr_factor,
    make_room,
    parameter_groups,
    set_lr,
    stages,
)


def small_model() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
            "head": nn.Conv2d(4, 1, 1),
        }
    )


class TwoMaps(nn.Module):
    """The second map needs `last` and, without being registered in that order, `first` too."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3))
        self.unused = nn.Linear(2, 2)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Dropout())

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        fine = self.first(images)
        return [fine, self.last(fine)]


def test_each_optimizer_has_a_rate_of_its_own_that_the_help_tells():
    assert (peak_lr("adamw", None), peak_lr("sgd", None)) == (1e-3, 7e-3)
    assert peak_lr("sgd", 0.5) == 0.5
    told = OptimizerConfig.model_fields["lr"].description or ""
    for name, rate in DEFAULT_LR.items():
        assert f"{name} {rate:g}" in told
        assert OptimizerConfig(name=name).lr is None


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


def test_without_layer_decay_the_order_is_that_of_the_model():
    """The state of an optimizer is stored by this order."""
    model = nn.ModuleDict({"backbone": TwoMaps(), "head": nn.Conv2d(5, 1, 1)})
    groups = parameter_groups(
        model, backbone=model["backbone"], lr=0.1, backbone_lr_ratio=1, weight_decay=0
    )
    names = {id(p): k for k, p in model.named_parameters()}
    assert [[names[id(p)] for p in g["params"]] for g in groups] == [
        ["backbone.last.1.weight", "backbone.unused.weight", "backbone.first.0.weight"],
        [
            *("backbone.last.0.weight", "backbone.last.0.bias", "backbone.last.1.bias"),
            "backbone.unused.bias",
        ],
        ["head.weight"],
        ["head.bias"],
    ]


def test_layer_decay_by_hand():
    model = nn.ModuleDict({"backbone": TwoMaps(), "head": nn.Conv2d(5, 1, 1)})
    groups = parameter_groups(
        model,
        backbone=model["backbone"],
        lr=0.8,
        backbone_lr_ratio=0.5,
        weight_decay=0.01,
        layer_decay=0.25,
    )
    assert [(g["peak_lr"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (0.1, 0.01, 1),  # 0.8 x 0.5 x 0.25: the first convolution, which has no bias
        (0.4, 0.01, 2),
        (0.4, 0.0, 4),
        (0.8, 0.01, 1),
        (0.8, 0.0, 1),
    ]
    optimizer = build_optimizer(groups, name="sgd", momentum=0)
    assert set_lr(optimizer, 0.5) == 0.4


@pytest.mark.parametrize("frozen", [False, True])
def test_stages_follow_the_maps_and_leave_no_trace(frozen: bool):
    backbone = TwoMaps().train()
    backbone.requires_grad_(not frozen)
    before, random = copy.deepcopy(backbone.state_dict()), torch.get_rng_state()
    first, second = stages(backbone)
    assert [id(p) for p in first] == [id(backbone.first[0].weight)]
    assert len(second) == 6
    assert backbone.training
    assert all(p.grad is None and p.requires_grad != frozen for p in backbone.parameters())
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


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


def plain(groups: list[dict], name: str) -> torch.optim.Optimizer:
    """Torch's own, one weight and one operation at a time."""
    if name == "adamw":
        return torch.optim.AdamW(groups, foreach=False)
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True, foreach=False)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_one_kernel_for_many_weights_takes_the_steps_of_torchs_plain_one(name: str, last: bool):
    """In either memory layout, and with weights that get no gradient."""

    def trained(make: Any) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
        torch.manual_seed(0)
        first = nn.Conv2d(3, 4, 3, bias=False)  # one before a batch norm has noise for a gradient
        model = nn.Sequential(first, nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
        unused = nn.Linear(2, 2)
        if last:
            model.to(memory_format=torch.channels_last)
        parameters = [*model.parameters(), *unused.parameters()]
        groups = [{"params": parameters, "lr": 0.01, "peak_lr": 0.01, "weight_decay": 0.1}]
        optimizer = make(groups)
        for step in range(6):
            set_lr(optimizer, 1 / (1 + step))
            optimizer.zero_grad()
            model(torch.randn(2, 3, 7, 7)).square().mean().backward()
            optimizer.step()
        return parameters, optimizer

    ours, optimizer = trained(lambda groups: build_optimizer(groups, name=name, momentum=0.9))
    theirs, _ = trained(lambda groups: plain(groups, name))
    assert optimizer.defaults["fused"]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_a_device_without_such_a_kernel_gets_the_plain_one():
    parameter = nn.Parameter(torch.empty(2, device="meta"))
    optimizer = build_optimizer([{"params": [parameter], "lr": 0.1}], name="adamw", momentum=0)
    assert not optimizer.defaults["fused"]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_room_for_the_state_changes_no_step(name: str):
    def steps(roomy: bool) -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        group = {"params": list(model.parameters()), "lr": 0.1, "weight_decay": 0.1}
        optimizer = build_optimizer([group], name=name, momentum=0.9)
        for _ in range(3):
            if roomy:
                make_room(optimizer)
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        return [p.detach() for p in model.parameters()], optimizer

    (plain, _), (roomy, optimizer) = steps(False), steps(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, roomy, strict=True))
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_room_is_made_for_what_is_trained_now():
    frozen, trained = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([frozen, trained])
    make_room(optimizer)
    assert list(optimizer.state) == [trained]
    assert {k: v.tolist() for k, v in optimizer.state[trained].items()} == {
        "step": 0.0,
        "exp_avg": [0.0, 0.0],
        "exp_avg_sq": [0.0, 0.0],
    }
    assert torch.equal(trained.detach(), torch.ones(2))
    assert trained.grad is None


class Listed(nn.Sequential):
    """Counts how often its state dict is made."""

    made = 0

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self.made += 1
        return super().state_dict(*args, **kwargs)


def test_the_average_is_that_of_timm_to_the_bit_and_lists_the_tensors_once():
    torch.manual_seed(0)
    model = Listed(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    ours, theirs = (kind(model, decay=0.9, use_warmup=True) for kind in (Average, ModelEmaV3))
    for step in range(1, 7):
        model(torch.randn(2, 3, 5, 5)).square().sum().backward()
        with torch.no_grad():
            for p in model.parameters():
                p.sub_(0.1 * p.grad)
        if step == 4:  # as a state that is loaded does
            other = {k: v + 1 for k, v in theirs.module.state_dict().items()}
            ours.module.load_state_dict(other)
            theirs.module.load_state_dict(other)
        theirs.update(model, step=step)
        before = model.made
        ours.update(model, step=step)
        assert model.made - before == (step == 1)
        got, expected = ours.module.state_dict(), theirs.module.state_dict()
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[k], expected[k]) for k in expected)
    assert int(ours.module[1].num_batches_tracked) == 6


def test_the_average_of_a_model_without_counters_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 8)
    average = Average(model, decay=0.75)
    nn.init.constant_(model.weight, 4)
    average.update(model)
    assert average.module.weight.item() == 7
