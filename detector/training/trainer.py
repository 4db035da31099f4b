"""One training, from a config to the best weights by H-mean, resumable to the bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from detector.config.cli import log as log_to_stderr
from detector.config.settings import TrainConfig
from detector.core.device import loader_processes
from detector.core.errors import InputError
from detector.data.crops.batch import PackedBatch
from detector.inference.latency import latency_ms
from detector.postprocess.sweep_scores import SweepScores
from detector.training.begin import prepare
from detector.training.distributed.network import share_statistics
from detector.training.distributed.peers import Peers
from detector.training.distributed.processes import shared
from detector.training.epoch import Job, feed, set_rate, train_epoch
from detector.training.monitor import Monitor, box_thresh_curve, curves
from detector.training.step_cost import WHOLE_GPU, Room, first_parts
from detector.training.storage.best import complete_best, keep_best
from detector.training.storage.generations import LAST, has_state, keep_previous, newest_state
from detector.training.storage.provenance import Provenance, reading_images, record_extension
from detector.training.storage.state_file import TrainingState, load_state, save_state
from detector.training.validation import STALE, Validated, epoch_line, record, validate

LATENCY = "latency_ms"


@dataclass(frozen=True)
class EpochReport:
    """What a finished and validated epoch gave.

    `epoch` counts from 1. `metrics` holds the figures of this epoch and, as `best_*`, those
    of the best epoch so far. `checkpoint` is a folder complete in itself. `finished` says that
    the training is over: all epochs are done, or patience has run out. `swept` has the scores at
    every post-processing setting tried; None without a sweep, and when nothing was left to train.
    `tuned` has the best of these settings in the last validation, by name in PostprocessConfig:
    those that differ among the tried ones; empty without a sweep.
    """

    epoch: int
    metrics: dict[str, float]
    page_hmeans: dict[str, float]
    checkpoint: Path
    finished: bool
    swept: SweepScores | None = None
    tuned: Mapping[str, Any] = field(default_factory=dict)


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
    job, state = prepare(config, folder, log, fresh=last is None, expected=expected)
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
    monitor = Monitor(job.folder, finished=state.epoch)
    result = _report(job, state)
    epochs = range(state.epoch, min(until or config.train.epochs, config.train.epochs))
    with closing(monitor), closing(feed(job, epochs)) as batches:
        while not peers.told(_over(state, config) or _paused(state, until)):
            scores = _epoch(job, state, monitor, batches)
            look()
            if scores is None:
                continue
            result = _report(job, state, scores.swept)
            if report is not None:
                report(result)
    return result


def _report(job: Job, state: TrainingState, swept: SweepScores | None = None) -> EpochReport:
    return EpochReport(
        epoch=state.epoch,
        metrics=dict(state.metrics),
        page_hmeans=state.page_hmeans,
        checkpoint=job.folder / "checkpoint",
        finished=_over(state, job.config),
        swept=swept,
        tuned=state.tuned,
    )


def _epoch(
    job: Job, state: TrainingState, monitor: Monitor, batches: Iterator[PackedBatch]
) -> Validated | None:
    """Train for an epoch, keep what came of it and tell it; the scores where it is validated."""
    config, checkpoint = job.config, job.folder / "checkpoint"
    started = time.monotonic()
    losses = train_epoch(job, state, batches)
    scores = _validate(job, state, monitor) if _is_validated(state.epoch, config) else None
    best = False
    state.seconds += time.monotonic() - started
    new = losses | {"seconds": state.seconds, "params_m": params_m(state.model)}
    state.metrics |= new
    if scores is not None:
        if LATENCY not in state.metrics:  # of the architecture rather than of its weights
            state.metrics[LATENCY] = latency_ms(job.detector, job.val_pages)
        state.tuned, state.page_hmeans = scores.tuned, scores.page_hmeans
        best = record(state.metrics, scores, state.epoch)
        if best:
            state.curve = box_thresh_curve(scores.swept, state.epoch)
    keep_previous(checkpoint)
    save_state(checkpoint / LAST, state, config)
    if best:
        keep_best(job.folder, state, config)
    # Between validations there are the scores of an older epoch, which are no points of this one.
    monitor.scalars(curves(new if scores is None else state.metrics), state.epoch)
    job.log(epoch_line(state.metrics, state.epoch, config.train.epochs, scores))
    return scores


def _follow(peers: Peers, config: TrainConfig, folder: Path) -> None:
    """Train as the process that does not lead: the same steps, and a share of the pages."""
    job, state = prepare(config, folder, lambda _: None, fresh=False, rank=peers.rank)
    last = newest_state(folder / "checkpoint", lambda _: None)  # the leader's choice: it was first
    if last is not None:
        load_state(last, state, config)
    job = replace(job, peers=peers)
    _join(job, state)
    with closing(feed(job, range(state.epoch, config.train.epochs))) as batches:
        while not peers.told(True):  # the leader alone knows of a pause
            train_epoch(job, state, batches)
            if _is_validated(state.epoch, config):
                _validate(job, state, None)


def _join(job: Job, state: TrainingState) -> None:
    """Look at the batches of all, from the leader's weights: the model's go with its first step."""
    state.parts = job.peers.told(state.parts)
    if job.peers.world == 1:
        return
    share_statistics(state.model, job.peers.network)
    if state.ema is not None:
        job.peers.same_weights(state.ema.module)


def _is_validated(epoch: int, config: TrainConfig) -> bool:
    return epoch % config.train.eval_every == 0 or epoch == config.train.epochs


def _require_validated(until: int | None, config: TrainConfig) -> None:
    """A validation that only a pause asks for could make another epoch the best one."""
    if until is None or until >= config.train.epochs:
        return
    every = config.train.eval_every
    if until < 1 or not _is_validated(until, config):
        raise InputError(
            f"until: must be an epoch that is validated, every {every} of them "
            f"(train.eval_every), got {until}; use {max(1, round(until / every)) * every}, or "
            "train.eval_every=1"
        )


def _paused(state: TrainingState, until: int | None) -> bool:
    return until is not None and state.epoch >= until


def _over(state: TrainingState, config: TrainConfig) -> bool:
    """Whether nothing is left to train: of the state alone, so that a resume agrees."""
    patience = config.train.patience
    stale = state.metrics.get(STALE, 0)
    return state.epoch >= config.train.epochs or (patience > 0 and stale >= patience)


def params_m(model: nn.Module) -> float:
    """Millions of weights."""
    return sum(p.numel() for p in model.parameters()) / 1e6


def _validate(job: Job, state: TrainingState, monitor: Monitor | None) -> Validated | None:
    job.peers.same_weights(state.evaluated)
    return validate(
        job.detector,
        job.val_pages,
        epoch=state.epoch,
        monitor=monitor,
        maps=job.folder / "maps" if job.config.train.sweep else None,
        workers=loader_processes(job.config.data.workers, job.detector.device),
        log=job.log,
        peers=job.peers,
        tried=job.config.sweep.tried(),
        choose=job.config.sweep.choose,
    )
