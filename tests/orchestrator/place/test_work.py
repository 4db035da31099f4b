"""The arithmetic of a training, against a count by hand."""

from __future__ import annotations

import pytest
import torch

from detector.config.settings import TrainConfig
from detector.inference.networks import new_model
from detector.training.step_cost import forward_flops
from orchestrator.place.work import flops, relative_work
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace

SMALL = {"model": {"backbone": "resnet18", "neck_channels": 16}, "augment": {"crop_px": 64}}


def by_hand(config: TrainConfig) -> int:
    """Two operations a multiplication of every convolution, from the sizes it sees."""
    model, total = new_model(config).train(), 0

    def count(layer, _inputs, output):
        nonlocal total
        size = layer.kernel_size[0] * layer.kernel_size[1] * layer.in_channels / layer.groups
        transposed = isinstance(layer, torch.nn.ConvTranspose2d)
        seen = _inputs[0] if transposed else output
        width = layer.out_channels * size if transposed else size
        total += int(2 * width * (seen[0, 0].numel() if transposed else seen[0].numel()))

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    side = config.augment.crop_px
    with torch.no_grad():
        model(torch.zeros(2, 3, side, side))
    return total


def test_it_is_what_the_convolutions_need():
    config = TrainConfig.model_validate(SMALL)
    assert forward_flops(config) == by_hand(config)


def test_a_larger_crop_needs_more_in_proportion():
    small, large = (
        TrainConfig.model_validate(SMALL | {"augment": {"crop_px": side}}) for side in (64, 128)
    )
    # The channel attention sees one value a channel, however large the crop is.
    assert flops(large) == pytest.approx(4 * flops(small), rel=1e-3)


def test_trials_are_weighed_in_the_cheapest_backbone():
    space = SearchSpace(
        name="test",
        description="",
        fixed={"augment.crop_px": 64, "model.neck_channels": 16},
        parameters={
            "model.backbone": Parameter("model.backbone", "choice", ("resnet34", "resnet18"))
        },
        warm_start=(),
        budget=Budget(trials=4, epochs=4, grace_epochs=1, reduction_factor=2),
    )
    work = relative_work(space)
    assert work({"model.backbone": "resnet18"}) == 1.0
    ratio = by_hand(space.train_config({"model.backbone": "resnet34"})) / by_hand(
        space.train_config({"model.backbone": "resnet18"})
    )
    assert work({"model.backbone": "resnet34"}) == pytest.approx(ratio)
