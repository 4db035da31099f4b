"""The same training on the CPU and on the device, and a training that was stopped and resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from gpu_bench import Bench, Training, batches, begun, silent
from gpu_figures import Figure, at_least, at_most
from torch import Tensor

from detector.data.crops.batch import PackedBatch
from detector.training.trainer import train

CPU = torch.device("cpu")
EPOCHS, PAUSE = 4, 2
PAGES, VAL_PAGES = 32, 4


def parity(bench: Bench) -> Iterator[Figure]:
    """Loss, gradients and maps of one float32 step, without TF32, against those of the CPU."""
    values = {
        "augment.crop_px": bench.sizes.parity_px,
        "train.batch_size": 2,
        "train.amp": "off",
        "optimizer.clip_norm": 0,
    }
    (packed,) = batches(bench, 1, values)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        config = bench.config(values)
        here, there = (_one_step(begun(config, d), packed) for d in (CPU, bench.device))
    (losses, gradients, maps), (losses2, gradients2, maps2) = here, there
    apart = (losses2 - losses).abs() / losses.abs().clamp(min=1e-6)
    yield at_most("losses of a step: largest relative difference", float(apart.max()), 1e-3)
    length = (gradients2 - gradients).norm() / gradients.norm()
    yield at_most("gradients: length of the difference over theirs", float(length), 0.01)
    cosine = F.cosine_similarity(gradients, gradients2, dim=0)
    yield at_least("gradients: cosine", float(cosine), 0.9999)
    yield at_most("probability maps: largest difference", float((maps2 - maps).abs().max()), 1e-3)


def resume(bench: Bench) -> Iterator[Figure]:
    """A training that pauses and goes on against one in one go; on a CPU they are the same."""
    values = {
        "train.epochs": EPOCHS,
        "train.eval_every": PAUSE,
        "train.sweep": False,
        "train.amp": "off",
        "data.train_pages": min(PAGES, bench.sizes.pages),
        "data.val_pages": VAL_PAGES,
    }
    whole = _last_loss(bench, "whole", values)
    _last_loss(bench, "parts", values, until=PAUSE)
    parts = _last_loss(bench, "parts", values, resume=True)
    name = f"resumed after epoch {PAUSE} of {EPOCHS}: relative difference of the last loss"
    yield at_most(name, abs(parts / whole - 1), 0.01, "%", of_gpu=False)


def _one_step(training: Training, packed: PackedBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, gradients and, before the step, probability maps: double precision, on the CPU."""
    model, batch = training.state.model, training.unpack(packed)
    with torch.inference_mode():
        maps = model.eval()(batch.images).probability.sigmoid()
    model.train()
    losses = training.step(batch)
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    found = (losses, torch.cat(gradients), maps)
    losses, flat, maps = (tensor.detach().to(CPU, torch.float64) for tensor in found)
    return losses, flat, maps


def _last_loss(bench: Bench, name: str, values: Mapping[str, Any], **how: Any) -> float:
    last = train(bench.config(values), bench.work / name, log=silent, **how)
    return last.metrics["loss/total"]
