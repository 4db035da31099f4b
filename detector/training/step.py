"""One update of the weights, from as much of a batch at a time as the memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import prod
from typing import TypeVar

import torch
from torch import nn

from detector.core.device_errors import is_compile_error, is_out_of_memory
from detector.core.errors import InputError, JobError
from detector.data.crops.batch import Batch
from detector.model.norm import statistics_kept
from detector.training.distributed.network import SharedNetwork, synchronous
from detector.training.distributed.peers import ALONE, Peers
from detector.training.loss import DBLoss, Pool
from detector.training.optimizer import make_room
from detector.training.storage.state_file import TrainingState

T = TypeVar("T")

BLANK_PX = (64, 64)  # of the crop that keeps a process without crops in step


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
    no memory for one, in twice as many from then on, and nothing is left of the attempt.
    JobError when a single crop does not fit.
    """
    shapes = peers.shapes(batch.images)
    counts = [count for count, _, _ in shapes]
    if not any(counts):
        return None

    def has_room() -> bool:
        return peers.network.has_room(state.model, prod(_largest(shapes, state.parts)))

    def rehearse() -> None:
        if not has_room():
            part = blank(batch, *_largest(shapes, state.parts))
            _rehearse(state, part, loss, amp, peers.network)

    def gradients() -> torch.Tensor:
        return _gradients(state, batch, shares(counts, state.parts), loss, amp, peers)

    if peers.world == 1:
        losses = _fitting(gradients, state, counts, log, peers)
    else:
        # A process that failed within a step would leave the others waiting in an exchange for
        # ever: each finds out on its own, before, whether the largest part has room.
        if not has_room():
            _fitting(rehearse, state, counts, log, peers)
        losses = gradients()
    if clip_norm > 0:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update(state.model, step=state.step)
    return losses


def _fitting(
    attempt: Callable[[], T],
    state: TrainingState,
    counts: Sequence[int],
    log: Callable[[str], None],
    peers: Peers,
) -> T:
    """What `attempt` gives once it finds memory in every process, in ever more parts."""
    undo = _undo(state.model)
    while True:
        found: list[T] = []
        try:
            make_room(state.optimizer)
            found.append(attempt())
        except RuntimeError as error:  # cuBLAS says it in an error without a class of its own
            if not is_out_of_memory(error):
                raise
        # Here the error is gone, and with it the tensors of the functions that it came from.
        if not peers.any(not found):
            return found[0]
        undo()
        _halve(state, counts, log)


def _undo(model: nn.Module) -> Callable[[], None]:
    """A function that gives buffers and the random state the values that they have now."""
    device = next(model.parameters()).device
    buffers = list(model.buffers())
    groups = [[b for b in buffers if b.dtype == kind] for kind in {b.dtype for b in buffers}]
    # One tensor a type: a copy of each would start hundreds of kernels on a GPU in every step.
    copies = [torch.cat([b.flatten() for b in group]) for group in groups]
    drawn = torch.get_rng_state()
    drawn_there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def undo() -> None:
        for group, copy in zip(groups, copies, strict=True):
            parts = copy.split([b.numel() for b in group])
            for buffer, part in zip(group, parts, strict=True):
                buffer.copy_(part.view(buffer.shape))
        torch.set_rng_state(drawn)
        if drawn_there is not None:
            torch.cuda.set_rng_state(drawn_there, device)

    return undo


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
    alone = peers.world == 1
    network = state.model if alone else peers.network.wrapped(state.model)
    for index, (part, everywhere) in enumerate(zip(parts, dealt, strict=True), start=1):
        peers.network.present = len(part.images) > 0
        if not peers.network.present:
            part = blank(batch, 1, *BLANK_PX)
        share = sum(everywhere) / crops
        last = alone or index == len(dealt)
        with nullcontext() if last else peers.network.accumulating():
            # The mean over the processes, which torch exchanges with the last part, is the sum.
            found = _backward(
                state, network, part, loss, amp, weight=share * peers.world, pool=peers.pool
            )
        losses += found * share
    return losses


def _backward(
    state: TrainingState,
    network: nn.Module,
    part: Batch,
    loss: DBLoss,
    amp: torch.dtype | None,
    *,
    weight: float = 1.0,
    pool: Pool | None = None,
) -> torch.Tensor:
    """Add the gradients of a part, times `weight`; its `(4,)` losses.

    InputError where torch was to compile the network and cannot.
    """
    targets = (part.shrink, part.shrink_mask, part.threshold, part.threshold_mask)
    try:
        with torch.autocast(part.images.device.type, amp, enabled=amp is not None):
            maps = network(part.images)
        found = loss(maps, *targets, pool=pool)
        with statistics_kept(state.model) if state.checkpointing else nullcontext():
            state.scaler.scale(found.total * weight).backward()
    except RuntimeError as error:
        if is_out_of_memory(error) or not is_compile_error(error):
            raise
        raise InputError(
            f"train.compile: torch cannot compile the network: {str(error).splitlines()[0]}; "
            "install a C++ compiler such as g++, or set train.compile=false"
        ) from None
    return torch.stack([value.detach() for value in found])


def _rehearse(
    state: TrainingState,
    part: Batch,
    loss: DBLoss,
    amp: torch.dtype | None,
    network: SharedNetwork,
) -> None:
    """Take the memory that a part needs, without the others and without a trace."""
    state.optimizer.zero_grad(set_to_none=True)
    device = part.images.device
    norms = [norm for norm in synchronous(state.model) if norm.training]
    for norm in norms:
        norm.eval()  # nothing is exchanged, and statistics stay
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            _backward(state, state.model, part, loss, amp)
    finally:
        for norm in norms:
            norm.train()
    network.rehearsed(state.model, prod(part.images[:, 0].shape))


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
        )
        start += size


def blank(batch: Batch, crops: int, height: int, width: int) -> Batch:
    """Crops that no loss sees, on the device of `batch`."""
    nothing = batch.images.new_zeros(crops, 1, height, width)
    images = batch.images.new_zeros(crops, 3, height, width)
    return Batch(images, nothing, nothing, nothing, nothing)


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


def _largest(shapes: Sequence[tuple[int, int, int]], parts: int) -> tuple[int, int, int]:
    """Crops, height and width of the largest part that any process has."""
    dealt = shares([count for count, _, _ in shapes], parts)
    found = [
        (max(part[rank] for part in dealt), height, width)
        for rank, (_, height, width) in enumerate(shapes)
    ]
    return max(found, key=prod)
