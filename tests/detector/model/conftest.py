"""The loss that the tests of whole networks train with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from detector.model.dbnet import DBNet
from detector.training.loss import DBLoss


@pytest.fixture(scope="session")
def loss_of() -> Callable[[DBNet, torch.Tensor], torch.Tensor]:
    """`loss_of(model, images)`: the loss at one word, wide and low, on each square image."""
    loss = DBLoss(
        negative_ratio=3.0,
        min_negatives=100,
        probability_weight=5.0,
        threshold_weight=10.0,
        binary_weight=1.0,
        step_k=50.0,
    )

    def compute(model: DBNet, images: torch.Tensor) -> torch.Tensor:
        shrink = torch.zeros_like(images[:, :1])
        shrink[:, :, 8:24, 8:56] = 1
        whole = torch.ones_like(shrink)
        maps = model(images)
        assert maps.threshold is not None
        assert maps.probability.shape == maps.threshold.shape == shrink.shape
        return loss(maps, shrink, whole, 0.3 + 0.4 * shrink, whole).total

    return compute
