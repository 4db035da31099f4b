"""What an epoch of one trial costs beside that of another, before either is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from detector.config.settings import (
    AugmentConfig,
    DataConfig,
    ModelConfig,
    PreprocessConfig,
    RunConfig,
    TrainConfig,
)
from orchestrator.place.cost import example, networks
from orchestrator.space.search_space import SearchSpace


def relative_work(space: SearchSpace) -> Callable[[Mapping[str, Any]], float]:
    """The arithmetic of a crop by a trial's settings, in those of the space's cheapest network.

    It is counted, not measured, so that it is the same on every machine and in a resumed search.
    """
    cheapest = min(flops(example(space, name)) for name in networks(space))
    return lambda params: max(1.0, flops(space.train_config(params)) / cheapest)


def flops(config: TrainConfig) -> int:
    """`forward_flops`, once for each network and size of crop."""
    sides = config.data.longest_side_px, config.preprocess.shortest_side_px
    return _flops(config.model, config.train.init, config.augment.crop_px, *sides)


@lru_cache(maxsize=4096)
def _flops(
    model: ModelConfig, init: str, crop_px: int, longest_px: int | None, shortest_px: int | None
) -> int:
    from detector.training.step_cost import forward_flops  # seconds of imports, for this only

    data, augment = DataConfig(longest_side_px=longest_px), AugmentConfig(crop_px=crop_px)
    train = RunConfig(init=init)
    preprocess = PreprocessConfig(shortest_side_px=shortest_px)
    return forward_flops(
        TrainConfig(data=data, preprocess=preprocess, augment=augment, model=model, train=train)
    )
