"""Other ways to take a step: compiled, and with gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from gpu_bench import Bench, begun, seconds
from gpu_figures import Figure, seen
from gpu_memory import peaks

from detector.training.step_cost import noise


def checkpointing(bench: Bench) -> Iterator[Figure]:
    """Time and memory of a step that computes activations again, over those of one that keeps."""
    backbone, side, crops = bench.sizes.checkpointed
    values = {"model.backbone": backbone, "augment.crop_px": side, "train.batch_size": crops}
    again = values | {"train.grad_checkpointing": True}
    (plain, _), (slow, _) = (_seconds(bench, v) for v in (values, again))
    kept, recomputed = (peaks(bench.config(v), bench)[1] for v in (values, again))
    name = f"{backbone}, {crops} crops of {side} px"
    yield seen(f"{name}: time of a step over that without", slow / plain)
    yield seen(f"{name}: memory over that without", recomputed / max(kept, 1))


def compiled(bench: Bench) -> Iterator[Figure]:
    """Seconds of a step with `train.compile`, over those without; a CPU compiles nothing."""
    plain, _ = _seconds(bench, {})
    with torch.compiler.set_stance("force_eager" if bench.device.type == "cpu" else "default"):
        fast, first = _seconds(bench, {"train.compile": True})
    yield seen("a step as it is", 1000 * plain, "ms")
    yield seen("a compiled step: its time over that", fast / plain)
    yield seen("the first one, which compiles", first, "s")


def _seconds(bench: Bench, values: Mapping[str, Any]) -> tuple[float, float]:
    """Of a step on noise, and of the first one."""
    config = bench.config(values)
    training = begun(config, bench.device)
    batch = noise(config, bench.device, channels_last=True)

    def take(count: int) -> None:
        for _ in range(count):
            training.step(batch)

    first = seconds(bench.device, lambda: take(1))
    take(2)
    return seconds(bench.device, lambda: take(bench.sizes.repeats)) / bench.sizes.repeats, first
