"""How much arithmetic a network needs, counted without running it."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from detector.config import TrainConfig
from detector.inference import new_model
from detector.warmup import crop_size


def forward_flops(config: TrainConfig) -> int:
    """Floating-point operations of one training crop's way through the network.

    Counted on PyTorch's meta device, so nothing is computed and no memory is needed; a
    multiplication and an addition are two. Raises InputError for a backbone that does not exist.
    """
    height, width = crop_size(config)
    with torch.device("meta"):
        model = new_model(config).train()
        crop = torch.empty(1, 3, height, width)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(crop)
    return int(counted.get_total_flops())
