"""One training, from a config to the best weights by H-mean, resumable to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from detector.config.cli import log as log_to_stderr
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.training.begin import prepare
from detector.training.distributed.network import share_statistics
from detector.training.distributed.peers import Peers
from detector.training.distributed.processes import shared
from detector.training.epoch import Job, feed, set_rate, train_epoch
from detector.training.epoch_end import (
    EpochEnds,
    EpochReport,
    begin_validation,
    is_over,
    is_validated,
    out_of_patience,
    scoring,
)
from detector.training.monitor import Monitor
from detector.training.step_cost import WHOLE_GPU, Room, first_parts
from detector.training.storage.best import complete_best
from detector.training.storage.generations import has_state, newest_state
from detector.training.storage.provenance import Provenance, record_extension
from detector.training.storage.recording import reading_images
from detector.training.storage.state_file import TrainingState, load_state
from detector.training.validation.validate import Pending


def train(
    config: TrainConfig,
    folder: Path,
    *,
    report: Callable[[EpochReport], None] | None = None,
    resume: bool = False,
    expected: Provenance | None = None,
    until: int | None = None,
    room: Room = WHOLE_GPU,
    log: Callable[[str], None] = log_to_stderr,
) -> EpochReport:
    """Train as `config` says and return the last report.

    Writes `folder/checkpoint/` (see `detector.training.storage.state_file`), TensorBoard events and
    `folder/record.json`, what the training was made from. With `resume` it continues after
    the last finished epoch, or the one before where that file is broken (`log` says so), and on a
    CPU the weights equal those of an uninterrupted training bit for bit. `until` pauses it after
    that epoch, one that is validated: the learning rate still follows all epochs of `config`, and
    a later call with `resume` goes on as if there had been no pause. `expected` is the record of
    another training, which this one repeats. With several processes (`train.processes`) this one
    leads: it alone writes, reports and logs. A step that takes more than `room` of a GPU works
    through its batch in parts from the start. A training that has all its epochs goes on when
    `config` has more: the schedule is then that of the new number, so the rate rises again unless
    it is constant.
    Raises InputError for unusable data or settings, and data or weights that are not those of
    `expected`, and JobError for a loss or score that is not finite and for a process that ended.
    """
    _require_validated(until, config)
    checkpoint = folder / "checkpoint"
    if has_state(checkpoint) and not resume:
        raise InputError(f"{folder}: holds a training already; add resume=true or choose another")
    last = newest_state(checkpoint, log)
    job, state = prepare(config, folder, log, last=last, expected=expected)
    if last is not None:
        before = load_state(last, state, config)
        log(f"resuming after epoch {state.epoch} of {config.train.epochs}")
        complete_best(folder, state, config, log)
        if before != config.train.epochs:
            _extend(job, state, before)
    if not _over(state, config):
        state.parts = first_parts(config, room.on(job.detector.device), room.factor, log)
    world, cuda = config.train.processes, job.detector.device.type == "cuda"
    splits = (job.samples.pages, job.val_pages)
    with (
        reading_images(folder, splits, expected=expected, log=log) as look,
        shared(world, cuda=cuda, work=_follow, arguments=(config, folder)) as peers,
    ):
        return _lead(replace(job, peers=peers), state, report, until, look)


def _extend(job: Job, state: TrainingState, before: int) -> None:
    """Keep and tell that a training which had all its epochs goes on.

    Raises InputError when patience ends it at once.
    """
    settings, epochs = job.config.optimizer, job.config.train.epochs
    if _over(state, job.config):
        raise InputError(
            f"train.epochs: {epochs} change nothing, since train.patience="
            f"{job.config.train.patience} has ended this training; train anew in another output "
            f"folder with config={job.folder / 'checkpoint' / 'best' / 'config.yaml'}"
        )
    rate, last = set_rate(job, state), state.metrics.get("lr", math.nan)
    job.log(
        f"going on from {before} to {epochs} epochs (optimizer.schedule={settings.schedule}): the "
        f"next learning rate is {rate:.3g}, the last one was {last:.3g}"
    )
    record_extension(job.folder, before, epochs)


def _lead(
    job: Job,
    state: TrainingState,
    report: Callable[[EpochReport], None] | None,
    until: int | None,
    look: Callable[[], None],
) -> EpochReport:
    """Train to the end or the pause, keep what comes of it, and return the last report.

    `look` is called after each epoch.
    """
    config, peers = job.config, job.peers
    _join(job, state)
    last = min(until or config.train.epochs, config.train.epochs)
    with (
        scoring(job) as processes,
        closing(Monitor(job.folder, finished=state.epoch)) as monitor,
        closing(feed(job, range(state.epoch, last))) as batches,
        closing(EpochEnds(job, state, processes=processes, monitor=monitor, report=report)) as ends,
    ):
        while peers.told(not _over(state, config) and state.epoch < last):
            started = time.monotonic()
            figures = train_epoch(job, state, batches, ends.poll)
            ends.decide()
            if peers.told(out_of_patience(state.metrics, config)):
                break  # the epoch before was the last, so that this one counts for nothing
            ends.begin(figures, started)
            if peers.told(not ends.beside or state.epoch == last):
                ends.finish()
            look()
        ends.finish()  # of an epoch that has shown, as soon as it was scored, to be the last
        return ends.last


def _follow(peers: Peers, config: TrainConfig, folder: Path) -> None:
    """Train as the process that does not lead: the same steps, and a share of the pages."""
    last = newest_state(folder / "checkpoint", lambda _: None)  # the leader's choice: it was first
    job, state = prepare(config, folder, lambda _: None, last=last, rank=peers.rank)
    if last is not None:
        load_state(last, state, config)
    job = replace(job, peers=peers)
    _join(job, state)
    pending: Pending | None = None

    def finish() -> None:
        nonlocal pending
        if pending is not None:
            peers.gathered(pending.part())
        pending = None

    with (
        scoring(job) as processes,
        closing(feed(job, range(state.epoch, config.train.epochs))) as batches,
    ):
        while peers.told(False):  # the leader alone knows of a pause, and of what was scored
            train_epoch(job, state, batches)
            finish()
            if peers.told(False):
                break
            pending = begin_validation(job, state, processes)
            if peers.told(False):
                finish()


def _join(job: Job, state: TrainingState) -> None:
    """Look at the batches of all, from the leader's weights: the model's go with its first step."""
    state.parts = job.peers.told(state.parts)
    if job.peers.world == 1:
        return
    share_statistics(state.model, job.peers.network)
    if state.ema is not None:
        job.peers.same_weights(state.ema.module)


def _require_validated(until: int | None, config: TrainConfig) -> None:
    """A validation that only a pause asks for could make another epoch the best one."""
    if until is None or until >= config.train.epochs:
        return
    every = config.train.eval_every
    if until < 1 or not is_validated(until, config):
        raise InputError(
            f"until: must be an epoch that is validated, every {every} of them "
            f"(train.eval_every), got {until}; use {max(1, round(until / every)) * every}, or "
            "train.eval_every=1"
        )


def _over(state: TrainingState, config: TrainConfig) -> bool:
    return is_over(state.epoch, state.metrics, config)
