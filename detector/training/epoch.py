"""One pass over the training pages, by one process or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from detector.config.settings import TrainConfig
from detector.core.device import loader_processes, searched_convolutions
from detector.core.errors import JobError
from detector.data.crops.batch import PackedBatch, Unpack
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.loader import training_batches
from detector.data.labels.annotations import Page
from detector.inference.detector import Detector
from detector.training.distributed.peers import ALONE, Peers
from detector.training.loss import DBLoss
from detector.training.optimizer import freeze, lr_factor, set_lr
from detector.training.step import update
from detector.training.storage.state_file import TrainingState

CHECK_EVERY = 20  # steps between two looks at the loss; a look waits for the GPU


@dataclass(frozen=True)
class Job:
    """What stays the same through a training."""

    config: TrainConfig
    folder: Path
    detector: Detector
    samples: TrainingPages
    val_pages: tuple[Page, ...]
    loss: DBLoss
    steps_per_epoch: int
    backbone: nn.Module
    unpack: Unpack
    log: Callable[[str], None]
    peers: Peers = ALONE

    @property
    def loaders(self) -> int:
        """Processes that load its crops and pages."""
        return loader_processes(self.config.data.workers, self.detector.device)


def feed(job: Job, epochs: range) -> Generator[PackedBatch, None, None]:
    """This process's share of the batches of these epochs, counted from 0."""
    settings, peers = job.config.train, job.peers
    return training_batches(
        job.samples,
        batch_size=settings.batch_size,
        workers=job.loaders,
        epochs=epochs,
        seed=settings.seed,
        pin_memory=job.detector.device.type == "cuda",
        rank=peers.rank,
        world=peers.world,
    )


def train_epoch(
    job: Job,
    state: TrainingState,
    batches: Iterator[PackedBatch],
    between: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """One pass over the training pages: mean losses, last learning rate, pages skipped.

    With loader processes also `waiting`, the share of its time in which there was no crop to go on
    with: that of a GPU which they cannot keep busy.
    `batches` go on with those of this epoch, and `between` is called after each step. Every process
    of `job.peers` makes the same steps and returns the same figures, but only the leading one knows
    of pages that others skipped. Raises JobError for a loss that is not finite and when no page can
    be read.
    """
    settings, device, peers = job.config.train, job.detector.device, job.peers
    if not peers.leads:  # its own dropout; only the leader's random state is kept for a resume
        draw = np.random.SeedSequence([settings.seed, state.epoch, peers.rank])
        torch.manual_seed(int(draw.generate_state(1)[0]))
    state.model.train()
    freeze(job.backbone, frozen=_frozen(job, state))
    total, count, rate = torch.zeros(4, device=device), 0, 0.0
    skipped = 0
    unsaid: list[str] = []
    clock = Waiting()
    for batch in clock.through(islice(batches, job.steps_per_epoch)):
        if peers.leads:
            skipped += _tell_broken(job, batch.broken)
        else:
            unsaid += batch.broken
        rate = set_rate(job, state)
        found = _step(job, state, batch)
        if found is not None:
            total += found
            count += 1
        state.step += 1
        if count % CHECK_EVERY == 1:
            _require_finite(total, state)
        between()
    skipped += sum(_tell_broken(job, messages) for messages in peers.gathered(unsaid))
    if not count:
        raise JobError("no training page could be read; see the lines above")
    _require_finite(total, state)
    state.epoch += 1
    names = ("loss/total", "loss/probability", "loss/threshold", "loss/binary")
    losses = dict(zip(names, (total / count).tolist(), strict=True))
    losses |= {"lr": rate, "skipped": skipped}
    if job.loaders:
        losses["waiting"] = clock.share()
    return losses


class Waiting:
    """Which share of its time whoever goes through batches has waited for them."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._waited = 0.0

    def through(self, batches: Iterator[PackedBatch]) -> Iterator[PackedBatch]:
        """The batches."""
        while True:
            before = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - before
            if batch is None:
                return
            yield batch

    def share(self) -> float:
        """From 0 to 1, since this was made."""
        return self._waited / max(time.monotonic() - self._begun, 1e-9)


def _tell_broken(job: Job, messages: Sequence[str]) -> int:
    """Name the pages that were skipped, and count them."""
    for message in messages:
        job.log(f"skipped: {message}")
    return len(messages)


def _frozen(job: Job, state: TrainingState) -> bool:
    settings = job.config.optimizer
    return settings.backbone_lr_ratio == 0 or state.epoch < settings.freeze_epochs


def set_rate(job: Job, state: TrainingState) -> float:
    """Give the optimizer the learning rate of the next step; returns that of the head."""
    settings = job.config.optimizer
    factor = lr_factor(
        state.step,
        total_steps=job.steps_per_epoch * job.config.train.epochs,
        warmup_steps=round(settings.warmup_epochs * job.steps_per_epoch),
        schedule=settings.schedule,
    )
    return set_lr(state.optimizer, factor)


def _step(job: Job, state: TrainingState, batch: PackedBatch) -> torch.Tensor | None:
    with searched_convolutions(job.config.augment.crop_px > 0):
        return update(
            state,
            job.unpack(batch),
            loss=job.loss,
            amp=job.detector.amp,
            clip_norm=job.config.optimizer.clip_norm,
            log=job.log,
            peers=job.peers,
        )


def _require_finite(total: torch.Tensor, state: TrainingState) -> None:
    if not torch.isfinite(total).all():
        raise JobError(
            f"the loss is not finite at step {state.step}; try a smaller optimizer.lr, "
            "a smaller optimizer.clip_norm or train.amp=off"
        )
