"""One update of the weights, from as much of a batch at a time as the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from detector.core.device_errors import is_out_of_memory
from detector.core.errors import JobError
from detector.data.crops.dataset import Batch
from detector.training.distributed.peers import ALONE, PeerOutOfMemoryError, Peers
from detector.training.loss import DBLoss
from detector.training.storage.state_file import TrainingState

BLANK_SIDE_PX = 64  # of the crop that keeps a process without crops in step


def update(
    state: TrainingState,
    batch: Batch,
    *,
    loss: DBLoss,
    amp: torch.dtype | None,
    clip_norm: float,
    log: Callable[[str], None],
    peers: Peers = ALONE,
) -> torch.Tensor | None:
    """Train on a batch; the `(4,)` losses stay on its device, so nothing waits for them.

    `batch` is this process's share of what `peers` train on together, and may be empty; the
    losses are those of all crops, and None says that no process has one. The batch is worked
    through in `state.parts` parts whose gradients add up; when the device of any process has
    no memory for one, in twice as many from then on. JobError when a single crop does not fit.
    """
    counts = peers.counts(len(batch.images))
    if not any(counts):
        return None
    while True:
        try:
            losses = _gradients(state, batch, shares(counts, state.parts), loss, amp, peers)
            break
        except PeerOutOfMemoryError:
            _halve(state, counts, log)
        except RuntimeError as error:  # cuBLAS says it in an error without a class of its own
            if not is_out_of_memory(error):
                raise
            peers.out_of_memory()
            _halve(state, counts, log)
    if clip_norm > 0:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update(state.model, step=state.step)
    return losses


def shares(counts: Sequence[int], parts: int) -> list[list[int]]:
    """How many crops each process has in each of at most `parts` parts, as even as can be.

    Crops were dealt one at a time, so a part holds those it would hold in a single process.
    """
    dealt = [
        rank for turn in range(max(counts)) for rank, count in enumerate(counts) if turn < count
    ]
    size = -(-len(dealt) // parts)
    chunks = [dealt[start : start + size] for start in range(0, len(dealt), size)]
    return [[chunk.count(rank) for rank in range(len(counts))] for chunk in chunks]


def _gradients(
    state: TrainingState,
    batch: Batch,
    dealt: list[list[int]],
    loss: DBLoss,
    amp: torch.dtype | None,
    peers: Peers,
) -> torch.Tensor:
    """Fill the gradients with those of the whole batch, each part weighed by its crops."""
    state.optimizer.zero_grad(set_to_none=True)
    losses = torch.zeros(4, device=batch.images.device)
    crops = sum(map(sum, dealt))
    parts = split(batch, [part[peers.rank] for part in dealt])
    for part, everywhere in zip(parts, dealt, strict=True):
        peers.present = len(part.images) > 0
        if not peers.present:
            part = blank(batch)
        with torch.autocast(batch.images.device.type, amp, enabled=amp is not None):
            maps = state.model(part.images)
        targets = (part.shrink, part.shrink_mask, part.threshold, part.threshold_mask)
        found = loss(maps, *targets, pool=peers.pool)
        share = sum(everywhere) / crops
        state.scaler.scale(found.total * share).backward()
        losses += torch.stack([value.detach() for value in found]) * share
    peers.add_gradients(state.model)
    return losses


def split(batch: Batch, sizes: Sequence[int]) -> Iterator[Batch]:
    """The batch in parts of these sizes, in order; itself when there is one."""
    if len(sizes) == 1:
        yield batch
        return
    start = 0
    for size in sizes:
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
        start += size


def blank(batch: Batch) -> Batch:
    """One crop that no loss sees, on the device of `batch`."""
    side = BLANK_SIDE_PX
    nothing = batch.images.new_zeros(1, 1, side, side)
    image = batch.images.new_zeros(1, 3, side, side)
    return Batch(image, nothing, nothing, nothing, nothing, [], [])


def _halve(state: TrainingState, counts: Sequence[int], log: Callable[[str], None]) -> None:
    size = _at_once(counts, state.parts)
    if size <= 1:
        raise JobError(
            "out of memory: the device has no memory for a single crop; use a smaller "
            "augment.crop_px, a smaller model.backbone or train.amp=bf16"
        )
    state.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    while _at_once(counts, state.parts) == size:
        state.parts *= 2
    log(
        f"out of memory with {size} crops at once: from here on "
        f"{_at_once(counts, state.parts)} at once, with the gradients of {sum(counts)} added up "
        "before each step"
    )


def _at_once(counts: Sequence[int], parts: int) -> int:
    """The most crops a process holds at the same time."""
    return max(max(part) for part in shares(counts, parts))
