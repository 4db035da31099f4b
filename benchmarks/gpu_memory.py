"""A batch that does not fit, and the memory that was predicted against what a step takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from gpu_bench import Bench, Training, begun, seconds
from gpu_figures import Figure, at_least, at_most, holds, seen

from detector.config.settings import TrainConfig, with_values
from detector.core.device_errors import release_memory
from detector.core.errors import JobError
from detector.data.crops.batch import Batch
from detector.training.loss import DBLoss
from detector.training.step_cost import FACTOR, noise, predicted_bytes

FAR_TOO_LARGE = 1.3  # times what is free
LARGEST_BATCH = 1024  # that the settings allow
SOME = 32  # crops, of which the memory is predicted
LARGE_STEPS = 3  # of a batch in parts, and as many parts of one that fits
STAND_IN = 2  # crops at once that a CPU is given


class Refusing(DBLoss):
    """On a CPU in place of a device without memory: it refuses more than `STAND_IN` crops."""

    def forward(self, maps: Any, *targets: Any, **more: Any) -> Any:
        if len(maps.probability) > STAND_IN:
            raise torch.OutOfMemoryError("CUDA out of memory: that of a stand-in")
        return super().forward(maps, *targets, **more)


def out_of_memory(bench: Bench) -> Iterator[Figure]:
    """A batch far too large goes on in parts, as fast as batches of the size of a part."""
    config = too_large(bench)
    training, batch = _ready(config, bench)
    first = seconds(bench.device, lambda: training.step(batch))
    parts, crops = training.state.parts, config.train.batch_size
    yield holds(f"a batch of {crops} goes on in parts", parts > 1, note=f"{parts} parts")
    losses = training.step(batch)
    yield holds("and its losses are finite", bool(losses.isfinite().all()))
    taken = seconds(bench.device, lambda: _take(training, batch, LARGE_STEPS))
    rate = LARGE_STEPS * crops / taken
    yield seen("its first step, with the search for what fits", first, "s")
    del training, batch
    release_memory()
    fits = with_values(config, {"train.batch_size": crops // parts})
    training, batch = _ready(fits, bench)
    _take(training, batch, 2)
    count = LARGE_STEPS * parts
    taken = seconds(bench.device, lambda: _take(training, batch, count))
    other = count * fits.train.batch_size / taken
    yield seen("crops afterwards", rate, "a second")
    yield seen(f"crops in batches of {fits.train.batch_size}, which fit", other, "a second")
    yield at_least("the former over the latter", rate / other, 0.9)


def too_large(bench: Bench) -> TrainConfig:
    """A training whose batch the device has no memory for, in one part; on a CPU `Refusing`."""
    if bench.device.type == "cpu":
        return bench.config({"train.batch_size": 2 * STAND_IN})
    release_memory()
    return beyond(bench, torch.cuda.mem_get_info(bench.device)[0])


def beyond(bench: Bench, free: float) -> TrainConfig:
    """A training that is predicted to take far more than `free` bytes, by twice as many at most.

    JobError where the largest batch fits.
    """
    for side in (640, 1280, 2560):
        config = bench.config({"train.batch_size": SOME, "augment.crop_px": side})
        of_a_crop = predicted_bytes(config, training=True, parts=1) / SOME
        crops = 2 ** math.ceil(math.log2(max(2.0, FAR_TOO_LARGE * free / of_a_crop)))
        if crops <= LARGEST_BATCH:
            return with_values(config, {"train.batch_size": crops})
    raise JobError(f"{LARGEST_BATCH} crops of {side} px fit {free / 1e9:.0f} GB")


def predicted(bench: Bench) -> Iterator[Figure]:
    """What torch reserved for two steps over the bytes that were predicted."""
    for backbone, side, crops in bench.sizes.memory:
        values = {"model.backbone": backbone, "augment.crop_px": side, "train.batch_size": crops}
        config = bench.config(values)
        reserved, allocated = peaks(config, bench)
        foreseen = predicted_bytes(config, training=True, parts=1)
        name = f"{backbone}, {crops} crops of {side} px: memory over prediction"
        of = f"of {foreseen / 1e9:.1f} GB; tensors alone {allocated / foreseen:.2f}"
        yield at_most(name, reserved / foreseen, FACTOR, note=of)


def peaks(config: TrainConfig, bench: Bench) -> tuple[int, int]:
    """The most bytes that torch reserved, and gave to tensors, in the first steps of a training.

    Both 0 on a CPU.
    """
    release_memory()
    held = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()
    training, batch = _ready(config, bench)
    _take(training, batch, 2)
    most = torch.cuda.max_memory_reserved(), torch.cuda.max_memory_allocated()
    del training, batch
    release_memory()
    return most[0] - held[0], most[1] - held[1]


def _ready(config: TrainConfig, bench: Bench) -> tuple[Training, Batch]:
    training = begun(config, bench.device)
    if bench.device.type == "cpu":
        loss = Refusing(**config.loss.model_dump(), step_k=config.model.step_k)
        training = replace(training, loss=loss)
    return training, noise(config, bench.device, channels_last=True)


def _take(training: Training, batch: Batch, count: int) -> None:
    for _ in range(count):
        training.step(batch)
