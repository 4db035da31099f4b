"""Loss curves in 16 bits against float32, from the same weights on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from gpu_bench import Bench, batches, begun
from gpu_figures import Figure, at_most, holds, seen
from torch import Tensor

from detector.data.crops.batch import PackedBatch
from detector.training.optimizer import set_lr

DISTINCT = 32  # batches
WARMUP = 0.25  # of the steps


def precision(bench: Bench) -> Iterator[Figure]:
    """How far the curves are apart; two of float32 say what the order of sums alone does."""
    count = bench.sizes.steps
    packed = batches(bench, min(DISTINCT, count), {})
    plain, again, short = (curve(bench, amp, packed) for amp in ("off", "off", "bf16"))
    window = bench.sizes.window
    name = f"losses of {count} steps, in means of {window}, apart at most"
    yield at_most(f"bf16: {name}", apart(short, plain, window), 0.01, "%")
    yield seen("float32, a second time: the same", apart(again, plain, window), "%")
    half = curve(bench, "bf16" if bench.device.type == "cpu" else "fp16", packed)  # refused there
    yield holds("fp16: every loss is finite", bool(half.isfinite().all()))
    yield seen("fp16: losses apart at most", apart(half, plain, window), "%")


def curve(bench: Bench, amp: str, packed: Sequence[PackedBatch]) -> Tensor:
    """The total loss of each step, `(steps,)` on the CPU."""
    training, count = begun(bench.config({"train.amp": amp}), bench.device), bench.sizes.steps
    found = []
    for step in range(count):
        set_lr(training.state.optimizer, min(1.0, (step + 1) / (WARMUP * count)))
        found.append(training.step(training.unpack(packed[step % len(packed)]))[0])
    return torch.stack(found).cpu()


def apart(one: Tensor, other: Tensor, window: int) -> float:
    """The largest relative difference of two curves, of means over `window` steps each."""
    means, others = (c[: len(c) // window * window].view(-1, window).mean(1) for c in (one, other))
    return float(((means - others).abs() / others).max())
