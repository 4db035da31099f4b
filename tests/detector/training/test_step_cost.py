from __future__ import annotations

from typing import Any

import pytest
import torch

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.training.step_cost import CONTEXT_BYTES, StepCost, crop_size, step_cost

SMALL = {
    "model.backbone": "mobilenetv3_small_050",
    "model.neck_channels": 16,
    "train.batch_size": 2,
    "train.device": "cpu",
}


def test_a_larger_step_takes_longer_and_random_numbers_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    small = step_cost(with_values(TrainConfig(), SMALL | {"augment.crop_px": 64}))
    assert torch.rand(1) == expected
    large = step_cost(with_values(TrainConfig(), SMALL | {"augment.crop_px": 640}))
    assert 0 < small.seconds < large.seconds
    assert small == StepCost(small.seconds)  # no GPU, no memory of one


def test_whole_pages_have_a_step_too():
    values = SMALL | {"augment.crop_px": 0, "data.longest_side_px": 96, "augment.scale_max": 1.0}
    assert step_cost(with_values(TrainConfig(), values)).seconds > 0


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, (992, 736)),  # upright and 3 : 4, to a shortest side of 736 and a longest of 981
        ({"data.longest_side_px": 1024}, (1024, 768)),
        ({"data.longest_side_px": 1024, "preprocess.shortest_side_px": 384}, (512, 384)),
        ({"augment.crop_px": 320}, (320, 320)),
    ],
)
def test_the_size_of_a_crop_by_hand(values: dict[str, Any], size: tuple[int, int]):
    config = with_values(TrainConfig(), {"augment.crop_px": 0} | values)
    assert crop_size(config) == size


def test_what_a_training_refuses_is_refused():
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        step_cost(with_values(TrainConfig(), SMALL | {"train.amp": "fp16"}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_larger_step_takes_more_of_a_gpu():
    values = SMALL | {"train.device": "cuda"}
    small, large = (
        step_cost(with_values(TrainConfig(), values | {"augment.crop_px": side}))
        for side in (64, 640)
    )
    assert CONTEXT_BYTES < small.memory_bytes < large.memory_bytes < large.gpu_bytes
    assert torch.cuda.memory_reserved() == 0
