"""One update of the weights, from as much of a batch at a time as the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from detector.checkpoint import TrainingState
from detector.data.dataset import Batch
from detector.errors import JobError
from detector.loss import DBLoss


def update(
    state: TrainingState,
    batch: Batch,
    *,
    loss: DBLoss,
    amp: torch.dtype | None,
    clip_norm: float,
    log: Callable[[str], None],
) -> torch.Tensor:
    """Train on a batch; the `(4,)` losses stay on its device, so nothing waits for them.

    The batch is worked through in `state.parts` parts whose gradients add up; when the device
    has no memory for one, in twice as many from then on. JobError when a single crop does not
    fit.
    """
    while True:
        try:
            losses = _gradients(state, batch, loss, amp)
            break
        except torch.OutOfMemoryError:
            _halve(state, len(batch.images), log)
    if clip_norm > 0:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update(state.model, step=state.step)
    return losses


def _gradients(
    state: TrainingState, batch: Batch, loss: DBLoss, amp: torch.dtype | None
) -> torch.Tensor:
    """Fill the gradients with those of the batch, each part weighed by its crops."""
    state.optimizer.zero_grad(set_to_none=True)
    losses = torch.zeros(4, device=batch.images.device)
    for part in split(batch, state.parts):
        with torch.autocast(batch.images.device.type, amp, enabled=amp is not None):
            maps = state.model(part.images)
        found = loss(maps, part.shrink, part.shrink_mask, part.threshold, part.threshold_mask)
        share = len(part.images) / len(batch.images)
        state.scaler.scale(found.total * share).backward()
        losses += torch.stack([value.detach() for value in found]) * share
    return losses


def split(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch in at most `parts` parts, as even as can be; itself when that is one."""
    size = -(-len(batch.images) // parts)
    if size >= len(batch.images):
        yield batch
        return
    for start in range(0, len(batch.images), size):
        chosen = slice(start, start + size)
        yield replace(
            batch,
            images=batch.images[chosen],
            shrink=batch.shrink[chosen],
            shrink_mask=batch.shrink_mask[chosen],
            threshold=batch.threshold[chosen],
            threshold_mask=batch.threshold_mask[chosen],
            names=batch.names[chosen],
        )


def _halve(state: TrainingState, crops: int, log: Callable[[str], None]) -> None:
    size = -(-crops // state.parts)
    if size <= 1:
        raise JobError(
            "the device has no memory for a single crop; use a smaller augment.crop_px, "
            "a smaller model.backbone or train.amp=bf16"
        )
    state.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    while -(-crops // state.parts) == size:
        state.parts *= 2
    log(
        f"out of memory with {size} crops at once: from here on {-(-crops // state.parts)} at "
        f"once, with the gradients of {crops} added up before each step"
    )
