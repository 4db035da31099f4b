"""What a training step takes: seconds and memory measured on noise, and arithmetic counted."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from detector.config.settings import TrainConfig
from detector.core.device import autocast_dtype, choose_device, searched_convolutions
from detector.core.device_errors import release_memory
from detector.data.crops.batch import Batch
from detector.data.page.preprocess import page_scale, page_sides
from detector.inference.detector import new_model
from detector.training.begin import new_state, place
from detector.training.loss import DBLoss
from detector.training.step import update

# What a process takes of a GPU beside its tensors: CUDA, cuBLAS and cuDNN with their kernels.
CONTEXT_BYTES = 600 * 2**20


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step and, on a GPU, the bytes that its process takes of it.

    memory_bytes: the most that torch reserved, and CONTEXT_BYTES; None on a CPU.
    gpu_bytes: what was free on the GPU before, and CONTEXT_BYTES; None on a CPU.
    """

    seconds: float
    memory_bytes: int | None = None
    gpu_bytes: int | None = None


WHOLE_PAGE_SHARE = 0.75  # width over height of a page, where crops are whole pages


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
        batch = _noise(config, device, channels_last=last)
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    amp = autocast_dtype(config.train.amp, device)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        with searched_convolutions(config.augment.crop_px > 0):  # as a training does
            losses = update(state, batch, loss=loss, amp=amp, clip_norm=0.0, log=lambda _: None)
        if losses is not None:
            losses.sum().item()  # waits for a GPU
        seconds = time.perf_counter() - started
    return seconds


def crop_size(config: TrainConfig) -> tuple[int, int]:
    """Height and width of what trainings see, pixels; a page is taken to be an upright one."""
    if config.augment.crop_px:
        return config.augment.crop_px, config.augment.crop_px
    sides = page_sides(config.data.longest_side_px, config.preprocess.shortest_side_px)
    height = page_scale(WHOLE_PAGE_SHARE, 1, *sides)
    return -(-round(height) // 32) * 32, -(-round(height * WHOLE_PAGE_SHARE) // 32) * 32


def _noise(config: TrainConfig, device: torch.device, *, channels_last: bool) -> Batch:
    """A batch of the size that trainings see, a tenth of it text."""
    height, width = crop_size(config)
    count = config.train.batch_size
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.randn(count, 3, height, width, device=device).to(memory_format=layout)
    text = (torch.rand(count, 1, height, width, device=device) < 0.1).float()
    whole = torch.ones_like(text)
    return Batch(images, text, whole, 0.3 + 0.4 * text, whole)


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
