"""What a training step takes: measured on noise, its memory and its arithmetic also counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from detector.config.settings import LossConfig, ModelConfig, RunConfig, TrainConfig, with_values
from detector.core.device import autocast_dtype, choose_device, searched_convolutions
from detector.core.device_errors import release_memory
from detector.core.errors import InputError, JobError
from detector.data.crops.batch import Batch
from detector.data.page.preprocess import page_scale, page_sides
from detector.inference.networks import new_model
from detector.model import memory
from detector.model.cost import count_macs
from detector.model.dbnet import Network
from detector.training.begin import new_state, place
from detector.training.loss import DBLoss
from detector.training.optimizer import freeze
from detector.training.step import update

# What a process takes of a GPU beside its tensors: CUDA, cuBLAS and cuDNN with their kernels.
CONTEXT_BYTES = 600 * 2**20
# Measured over predicted bytes where nothing was measured: gaps between tensors, and what cuDNN
# works in.
FACTOR = 1.1
CROP_BYTES = 4 * (3 + 4)  # a pixel: the image and four label maps, float32
PAGE_BYTES = 4 * 3


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step and, on a GPU, the bytes that its process takes of it.

    memory_bytes: the most that torch reserved, and CONTEXT_BYTES; None on a CPU.
    gpu_bytes: what was free on the GPU before, and CONTEXT_BYTES; None on a CPU.
    factor: what torch reserved over the bytes that were predicted; None on a CPU.
    """

    seconds: float
    memory_bytes: int | None = None
    gpu_bytes: int | None = None
    factor: float | None = None


@dataclass(frozen=True)
class Room:
    """The `share` of a GPU that a training may take, and how its memory is to be predicted.

    factor: measured over predicted bytes of a step with the same backbone on such a GPU.
    """

    share: float = 1.0
    factor: float = FACTOR

    def on(self, device: torch.device) -> float | None:
        """Bytes that all tensors of a training may take of `device`; None on a CPU."""
        if device.type == "cpu":
            return None
        free, total = torch.cuda.mem_get_info(device)
        return min(free + torch.cuda.memory_reserved(device), self.share * total - CONTEXT_BYTES)


WHOLE_GPU = Room()
WHOLE_PAGE_SHARE = 0.75  # width over height of a page, where crops are whole pages


def step_cost(config: TrainConfig) -> StepCost:
    """What the second step of a training takes as `config` says, loading of pages left out.

    Weights and crops are random and torch's random state is as it was afterwards. Raises
    InputError as a training does for a device or backbone that cannot be used, and JobError
    where a single crop has no room.
    """
    device = choose_device(config.train.device)
    if device.type == "cpu":
        return StepCost(_step(config, device)[0])
    release_memory()
    torch.zeros(1, device=device)  # the context is there, so that what is free leaves it out
    free = torch.cuda.mem_get_info(device)[0]
    parts = first_parts(config, WHOLE_GPU.on(device), FACTOR, lambda _: None)
    seconds, parts = _step(with_values(config, {"train.accumulate": parts}), device)
    reserved = torch.cuda.max_memory_reserved(device)
    release_memory()
    factor = reserved / predicted_bytes(config, training=True, parts=parts)
    return StepCost(seconds, reserved + CONTEXT_BYTES, free + CONTEXT_BYTES, factor)


def _step(config: TrainConfig, device: torch.device) -> tuple[float, int]:
    """Seconds of a step, and the parts that it took."""
    with torch.random.fork_rng():
        torch.manual_seed(config.train.seed)
        model = new_model(config).train()
        last = place(model, config, device)
        state = new_state(model, config, device)
        batch = noise(config, device, channels_last=last)
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
    return seconds, state.parts


def crop_size(config: TrainConfig) -> tuple[int, int]:
    """Height and width of what trainings see, pixels; a page is taken to be an upright one."""
    if config.augment.crop_px:
        return config.augment.crop_px, config.augment.crop_px
    return page_size(config, 1.0)


def page_size(config: TrainConfig, share: float) -> tuple[int, int]:
    """Height and width of an upright page as the network gets it, pixels.

    share: of the size in training; `preprocess.test_scale` where it is validated.
    """
    sides = page_sides(config.data.longest_side_px, config.preprocess.shortest_side_px, share)
    height = page_scale(WHOLE_PAGE_SHARE, 1, *sides)
    return -(-round(height) // 32) * 32, -(-round(height * WHOLE_PAGE_SHARE) // 32) * 32


def noise(config: TrainConfig, device: torch.device, *, channels_last: bool) -> Batch:
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
    return 2 * count_macs(model, crop)


def predicted_bytes(config: TrainConfig, *, training: bool, parts: int | None = None) -> int:
    """The most that the tensors of a training take of a GPU, counted without one.

    With `training` in a step whose batch is worked through in `parts` (by default
    train.accumulate), else while an upright page is validated, or a tile of it. Weights,
    gradients, optimizer and average are there in both. Raises JobError where the network's
    operations cannot be counted.
    """
    if training:
        crops = _crops_at_once(config, config.train.accumulate if parts is None else parts)
        return _step_bytes(config, crops)
    height, width = page_size(config, config.preprocess.test_scale)
    if tile := config.preprocess.tile_px:
        height, width = min(height, tile), min(width, tile)
    found = _needed(*_network(config), (1, height, width), _reduced(config), training=False)
    # A kernel may work in a copy of what it looks at.
    return held_bytes(config) + PAGE_BYTES * height * width + found.peak + found.largest


def held_bytes(config: TrainConfig) -> int:
    """Bytes of weights, buffers, gradients, the optimizer's state and the average, all float32."""
    settings = config.optimizer
    weights, trained = _weights(*_network(config), frozen=settings.backbone_lr_ratio == 0)
    state = 2 if settings.name == "adamw" else int(settings.momentum > 0)
    copies = 2 if settings.ema_decay > 0 else 1
    return copies * weights + (1 + state) * trained


def weights_bytes(config: TrainConfig) -> int:
    """Bytes of the weights and buffers of a training's network, float32."""
    return _weights(*_network(config), frozen=False)[0]


def _network(config: TrainConfig) -> tuple[ModelConfig, str]:
    """All that a network depends on."""
    return config.model, config.train.init


def _new(model: ModelConfig, init: str) -> Network:
    """The network of these settings on torch's meta device."""
    with torch.device("meta"):
        return new_model(TrainConfig(model=model, train=RunConfig(init=init)))


@lru_cache(maxsize=64)
def _weights(settings: ModelConfig, init: str, *, frozen: bool) -> tuple[int, int]:
    """Bytes of the weights and buffers of a network, and of the weights that are trained."""
    model = _new(settings, init)
    freeze(model.backbone, frozen=frozen)
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    return sum(t.nbytes for t in (*model.parameters(), *model.buffers())), trained


def parts_that_fit(config: TrainConfig, room_bytes: float, factor: float) -> int:
    """The fewest parts of a batch, train.accumulate at least, for a training to fit `room_bytes`.

    As many as a batch has crops where even one is too much. What a step takes is the highest of
    sums that grow about linearly with the crops, so the search begins on the line from one to all.
    """
    settings, crops = config.train, _crops_at_once(config, config.train.accumulate)
    whole = factor * _step_bytes(config, crops)
    if whole <= room_bytes or crops == 1:
        return settings.accumulate
    one = factor * _step_bytes(config, 1)
    fit = 1 + int(max(room_bytes - one, 0) * (crops - 1) / (whole - one))
    parts = max(settings.accumulate, -(-settings.batch_size // (fit * settings.processes)))
    while (crops := _crops_at_once(config, parts)) > 1:
        if factor * _step_bytes(config, crops) <= room_bytes:
            break
        parts += 1
    return parts


def first_parts(
    config: TrainConfig, room_bytes: float | None, factor: float, log: Callable[[str], None]
) -> int:
    """The parts that a training begins with, of which `log` is told; on a CPU, `train.accumulate`.

    Where a step cannot be counted it begins as on a CPU, and with gradient checkpointing, which the
    count knows nothing of. A resumed training may have lost the start that it is counted of.
    """
    parts = config.train.accumulate
    if room_bytes is None or config.train.grad_checkpointing:
        return parts
    try:
        parts = parts_that_fit(config, room_bytes, factor)
        step = factor * predicted_bytes(config, training=True, parts=parts)
    except (JobError, InputError) as error:
        log(f"memory: {error}; a batch that does not fit will be worked through in parts")
        return parts
    batch = f"a batch of {config.train.batch_size} in {parts} part{'s'[: parts > 1]}"
    log(f"memory: {batch} should take {step / 1e9:.1f} of {room_bytes / 1e9:.1f} GB")
    return parts


def _crops_at_once(config: TrainConfig, parts: int) -> int:
    """The most crops that a process has in one of `parts` parts."""
    return -(-config.train.batch_size // parts // config.train.processes)


def _step_bytes(config: TrainConfig, crops: int) -> int:
    """The most that a step takes, `crops` at once."""
    height, width = crop_size(config)
    own = _crops_at_once(config, 1)
    found = _needed(
        *_network(config),
        (crops, height, width),
        _reduced(config),
        frozen=config.optimizer.backbone_lr_ratio == 0,
        channels_last=config.train.channels_last is not False,
    )
    # A backward pass begins with all that was kept, and with gradients of two maps.
    step = max(found.peak, found.kept + 2 * found.largest)
    return held_bytes(config) + CROP_BYTES * own * height * width + step


def _reduced(config: TrainConfig) -> bool:
    """Whether a training on a GPU has numbers of 16 bits."""
    return config.train.amp != "off"


@lru_cache(maxsize=256)  # the trials of a search are much alike
def _needed(
    model: ModelConfig,
    init: str,
    size: tuple[int, int, int],
    reduced: bool,
    *,
    training: bool = True,
    frozen: bool = False,
    channels_last: bool = True,
) -> memory.Needed:
    """What a pass over (crops, height, width) needs beside weights and inputs."""
    crops, height, width = size
    dtype = torch.bfloat16 if reduced else None
    loss = DBLoss(**LossConfig().model_dump(), step_k=model.step_k)

    def work(network: nn.Module, images: Tensor, *maps: Tensor) -> object:
        with torch.set_grad_enabled(training):
            with memory.autocast(dtype):
                found = network(images)
            return loss(found, *maps) if training else found.probability.float().sigmoid()

    network = _new(model, init).train(training)
    freeze(network.backbone, frozen=frozen)
    shapes = [(crops, 3, height, width), *[(crops, 1, height, width)] * (4 if training else 0)]
    try:
        return memory.needed(network, shapes, work, channels_last=channels_last)
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        name = network.backbone.name
        raise JobError(f"the step of {name} cannot be counted ({reason})") from None
