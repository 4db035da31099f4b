"""Whether the device waits: for crops, and for the processor within a step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path

import torch
from gpu_bench import Bench, batches, begun, seconds, silent, steps
from gpu_figures import Figure, at_least, at_most, seen
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from detector.core.errors import JobError
from detector.data.crops.batch import PackedBatch
from detector.training.begin import prepare
from detector.training.epoch import Job, feed, train_epoch
from detector.training.storage.state_file import TrainingState

SYNC_STEPS = 10
NOT_KERNELS = ("Memcpy", "Memset", "Optimizer.")  # copies, and the names of groups of kernels


def crops_and_use(bench: Bench) -> Iterator[Figure]:
    """Crops a second through the training's own loop, fed by loader processes and from memory.

    What is measured begins after steps that empty the queue of a loader that is too slow.
    """
    sizes, device = bench.sizes, bench.device
    values = {"data.root": bench.epoch, "train.epochs": 1000, "optimizer.schedule": "constant"}
    job, state = prepare(bench.config(values), bench.work / "feed", silent, last=None)
    state.parts, crops = 1, sizes.timed * sizes.batch
    with closing(feed(job, range(1000))) as loaded:
        loop = partial(_loop, job, state)
        loop(loaded, sizes.warm)
        through = crops / seconds(device, lambda: loop(loaded, sizes.timed))
        yield seen("crops with loading", through, "a second")
        held = repeat(next(loaded))
        loop(held, 2)
        fed = crops / seconds(device, lambda: loop(held, sizes.timed))
        yield seen("crops from memory, of one batch", fed, "a second")
        yield at_least("the former over the latter", through / fed, 0.9)
        loop(loaded, sizes.warm)
        busy = busy_share(device, lambda: loop(loaded, sizes.profiled))
        yield at_least("time in kernels over wall time, from the profiler", busy, 0.9, "%")


def waits(bench: Bench) -> Iterator[Figure]:
    """Calls within a step that make the processor wait for the GPU, as torch warns of them."""
    training, packed = begun(bench.config({}), bench.device), batches(bench, 1, {})
    cuda = bench.device.type == "cuda"
    steps(training, packed, 2)()  # what is made once may wait
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if cuda:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            steps(training, packed, SYNC_STEPS)()
        finally:
            if cuda:
                torch.cuda.set_sync_debug_mode("default")
    found = [one for one in told if "synchroniz" in str(one.message)]
    places = sorted({f"{Path(one.filename).name}:{one.lineno}" for one in found})
    name = f"calls that wait for the GPU in {SYNC_STEPS} steps"
    yield at_most(name, len(found), 0, note=", ".join(places[:3]))


def busy_share(device: torch.device, work: Callable[[], object]) -> float:
    """The share of the time of `work` in which a kernel runs; on a CPU an operation."""
    cuda = device.type == "cuda"
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as seen_there:
        took = seconds(device, work)
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in seen_there.events()
        if event.device_type == kind
        and not event.is_user_annotation
        and not event.name.startswith(NOT_KERNELS)
    ]
    if not spans:
        raise JobError("torch's profiler saw no kernel: CUPTI may be missing or not allowed here")
    return covered(spans) / 1e6 / took


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of spans (start, end)."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _loop(job: Job, state: TrainingState, batches: Iterator[PackedBatch], count: int) -> None:
    """That many steps of the training's loop."""
    train_epoch(replace(job, steps_per_epoch=count), state, batches)
