"""What a training step takes here, measured on noise before a training begins."""

from __future__ import annotations

import time

import torch

from detector.config import TrainConfig
from detector.data.dataset import Batch
from detector.device import autocast_dtype, choose_device
from detector.device_errors import release_memory
from detector.inference import new_model
from detector.loss import DBLoss
from detector.state import new_state, place
from detector.step import update
from detector.step_cost import CONTEXT_BYTES, StepCost

WHOLE_PAGE_SHARE = 0.75  # height over width of a page, where crops are whole pages


def step_cost(config: TrainConfig) -> StepCost:
    """What the second step of a training takes as `config` says, loading of pages left out.

    Weights and crops are random and torch's random state is as it was afterwards. Raises
    InputError as a training does for a device or backbone that cannot be used, and JobError
    where a single crop has no room.
    """
    device = choose_device(config.train.device)
    if device.type == "cpu":
        return StepCost(_step_seconds(config, device))
    release_memory()
    torch.zeros(1, device=device)  # the context is there, so that what is free leaves it out
    free = torch.cuda.mem_get_info(device)[0]
    seconds = _step_seconds(config, device)
    memory = torch.cuda.max_memory_reserved(device)
    release_memory()
    return StepCost(seconds, memory + CONTEXT_BYTES, free + CONTEXT_BYTES)


def _step_seconds(config: TrainConfig, device: torch.device) -> float:
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        model = new_model(config).train()
        last = place(model, config, device)
        state = new_state(model, config, device)
        batch = _noise(config).to(device, channels_last=last)
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    amp = autocast_dtype(config.train.amp, device)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        losses = update(state, batch, loss=loss, amp=amp, clip_norm=0.0, log=lambda _: None)
        if losses is not None:
            losses.sum().item()  # waits for a GPU
        seconds = time.perf_counter() - started
    return seconds


def crop_size(config: TrainConfig) -> tuple[int, int]:
    """Height and width of what trainings see, pixels; a page is taken to be an upright one."""
    if config.augment.crop_px:
        return config.augment.crop_px, config.augment.crop_px
    height = -(-config.data.longest_side_px // 32) * 32
    return height, -(-round(height * WHOLE_PAGE_SHARE) // 32) * 32


def _noise(config: TrainConfig) -> Batch:
    """A batch of the size that trainings see, a tenth of it text."""
    height, width = crop_size(config)
    count = config.train.batch_size
    images = torch.randn(count, 3, height, width)
    text = (torch.rand(count, 1, height, width) < 0.1).float()
    whole = torch.ones_like(text)
    return Batch(images, text, whole, 0.3 + 0.4 * text, whole, [""] * count, [])
