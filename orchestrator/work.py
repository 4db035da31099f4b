"""What an epoch of one trial costs beside that of another, before either is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from detector.config import TrainConfig
from orchestrator.cost import backbones, example
from orchestrator.space import SearchSpace


def relative_work(space: SearchSpace) -> Callable[[Mapping[str, Any]], float]:
    """The arithmetic of a crop by a trial's settings, in those of the space's cheapest backbone.

    It is counted, not measured, so that it is the same on every machine and in a resumed search.
    """
    cheapest = min(flops(example(space, name)) for name in backbones(space))
    return lambda params: max(1.0, flops(space.train_config(params)) / cheapest)


def flops(config: TrainConfig) -> int:
    """`forward_flops`, once for each network and size of crop."""
    size = (config.augment.crop_px, config.data.longest_side_px)
    return _flops(json.dumps(config.model.model_dump(), sort_keys=True), size)


@lru_cache(maxsize=4096)
def _flops(model: str, size: tuple[int, int]) -> int:
    from detector.work import forward_flops  # seconds of imports, for this only

    given = {"model": json.loads(model), "augment": {"crop_px": size[0]}}
    return forward_flops(TrainConfig.model_validate(given | {"data": {"longest_side_px": size[1]}}))
