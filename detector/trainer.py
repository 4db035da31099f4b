"""One training, from a config to the best weights by H-mean, resumable to the bit."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from detector.checkpoint import TrainingState, load_state, save_best, save_state
from detector.cli import log as log_to_stderr
from detector.config import TrainConfig
from detector.data.annotations import Page, Split, read_split, require_words
from detector.data.cache import PageCache
from detector.data.dataset import Batch, TrainingPages, training_loader, training_side_px
from detector.data.preprocess import Preprocess
from detector.data.transforms import Augment
from detector.device import autocast_dtype, choose_device, set_threads
from detector.errors import InputError, JobError
from detector.inference import Detector, make_preprocess, new_model
from detector.loss import DBLoss
from detector.model.weights import load_backbone_weights
from detector.monitor import Monitor
from detector.optim import build_optimizer, freeze, lr_factor, parameter_groups, set_lr
from detector.step import update
from detector.validation import STALE, Validated, curves, epoch_line, record, validate

CHECK_EVERY = 20  # steps between two looks at the loss; a look waits for the GPU


@dataclass(frozen=True)
class EpochReport:
    """What a finished and validated epoch gave.

    `epoch` counts from 1. `metrics` holds the figures of this epoch and, as `best_*`, those
    of the best epoch so far. `checkpoint` is a folder complete in itself. `finished` says that
    the training is over: all epochs are done, or patience has run out.
    """

    epoch: int
    metrics: dict[str, float]
    page_hmeans: dict[str, float]
    checkpoint: Path
    finished: bool


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
    log: Callable[[str], None]


def train(
    config: TrainConfig,
    folder: Path,
    *,
    report: Callable[[EpochReport], None] | None = None,
    resume: bool = False,
    log: Callable[[str], None] = log_to_stderr,
) -> EpochReport:
    """Train as `config` says and return the last report.

    Writes `folder/checkpoint/` (see `detector.checkpoint`) and TensorBoard events into
    `folder`. With `resume` it continues after the last finished epoch, and on a CPU the
    weights equal those of an uninterrupted training bit for bit. Raises InputError for
    unusable data or settings and JobError for a loss or score that is not finite.
    """
    checkpoint = folder / "checkpoint"
    last = checkpoint / "last.safetensors"
    if last.exists() and not resume:
        raise InputError(f"{folder}: holds a training already; add resume=true or choose another")
    job, state = _prepare(config, folder, log, fresh=not last.exists())
    if last.exists():
        load_state(last, state, config)
        log(f"resuming after epoch {state.epoch} of {config.train.epochs}")
    monitor = Monitor(folder, finished=state.epoch)
    result = EpochReport(state.epoch, state.metrics, {}, checkpoint, _over(state, config))
    try:
        while not _over(state, config):
            started = time.monotonic()
            losses = _train_epoch(job, state)
            scores = None
            if state.epoch % config.train.eval_every == 0 or state.epoch == config.train.epochs:
                scores = _validate(job, state, monitor)
            state.seconds += time.monotonic() - started
            state.metrics |= losses | {"seconds": state.seconds, "params_m": _params_m(state)}
            if scores is not None:
                best = record(state.metrics, scores, state.epoch)
                if best:
                    save_best(checkpoint / "best", state.evaluated, config, scores.figures)
            save_state(last, state, config)
            monitor.scalars(curves(state.metrics), state.epoch)
            log(epoch_line(state.metrics, state.epoch, config.train.epochs, scores))
            if scores is not None:
                over = _over(state, config)
                result = EpochReport(
                    state.epoch, dict(state.metrics), scores.page_hmeans, checkpoint, over
                )
                if report is not None:
                    report(result)
    finally:
        monitor.close()
    return result


def _over(state: TrainingState, config: TrainConfig) -> bool:
    """Whether nothing is left to train: of the state alone, so that a resume agrees."""
    patience = config.train.patience
    stale = state.metrics.get(STALE, 0)
    return state.epoch >= config.train.epochs or (patience > 0 and stale >= patience)


def _prepare(
    config: TrainConfig, folder: Path, log: Callable[[str], None], *, fresh: bool
) -> tuple[Job, TrainingState]:
    """Read the data and build the model; pretrained weights only when training starts."""
    if config.data.root is None:
        raise InputError("data.root: no dataset folder given; add data.root=FOLDER")
    set_threads(config.train.threads)
    torch.manual_seed(config.train.seed)
    device = choose_device(config.train.device)
    train_split = _read(config, config.data.train_split, config.data.train_pages, log)
    val_split = _read(config, config.data.val_split, config.data.val_pages, log)
    model = new_model(config)
    if fresh:
        log(load_backbone_weights(model.backbone, config.model.backbone, config.model.weights))
    model.to(device)
    if config.train.channels_last:
        model.to(memory_format=torch.channels_last)
    preprocess = make_preprocess(model, config.data.longest_side_px)
    state = _new_state(config, model, model.backbone, device)
    amp = autocast_dtype(config.train.amp, device)
    detector = Detector(state.evaluated, preprocess, config.postprocess, device, amp)
    samples = _samples(config, train_split, preprocess)
    steps = math.ceil(len(samples) / config.train.batch_size)
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    pages, backbone = val_split.pages, model.backbone
    return Job(config, folder, detector, samples, pages, loss, steps, backbone, log), state


def _read(config: TrainConfig, name: str, limit: int | None, log: Callable[[str], None]) -> Split:
    assert config.data.root is not None
    split = read_split(config.data.root, name, limit=limit, exclude=config.data.exclude)
    require_words(split, config.data.root)
    words = sum(len(page.words) for page in split.pages)
    log(f"{name}: {len(split.pages)} pages, {words} words")
    if split.faults:
        kinds = Counter(fault.kind for fault in split.faults)
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        log(
            f"{name}: {len(split.faults)} annotation faults ({counts}); "
            f"python -m detector.inspect data.root={config.data.root} lists them"
        )
    return split


def _new_state(
    config: TrainConfig, model: nn.Module, backbone: nn.Module, device: torch.device
) -> TrainingState:
    settings = config.optimizer
    groups = parameter_groups(
        model,
        backbone=backbone,
        lr=settings.lr,
        backbone_lr_ratio=settings.backbone_lr_ratio,
        weight_decay=settings.weight_decay,
    )
    optimizer = build_optimizer(groups, name=settings.name, momentum=settings.momentum)
    ema = None
    if settings.ema_decay > 0:
        # The warm-up lets a short training forget its random start.
        ema = ModelEmaV3(model, decay=settings.ema_decay, use_warmup=True)
    fp16 = autocast_dtype(config.train.amp, device) is torch.float16
    scaler = torch.amp.GradScaler(device.type, enabled=fp16)
    return TrainingState(model, ema, optimizer, scaler, parts=config.train.accumulate)


def _samples(config: TrainConfig, split: Split, preprocess: Preprocess) -> TrainingPages:
    augment = Augment(longest_side_px=config.data.longest_side_px, **config.augment.model_dump())
    cache = None
    if config.data.cache is not None:
        size = round(config.data.cache_gb * 1e9)
        cache = PageCache(config.data.cache, training_side_px(augment), size)
    return TrainingPages(
        split.pages,
        augment,
        preprocess,
        seed=config.train.seed,
        cache=cache,
        **config.targets.model_dump(),
    )


def _train_epoch(job: Job, state: TrainingState) -> dict[str, float]:
    """One pass over the training pages; mean losses and the last learning rate."""
    settings, device = job.config.train, job.detector.device
    loader = training_loader(
        job.samples,
        batch_size=settings.batch_size,
        workers=job.config.data.workers,
        epoch=state.epoch,
        seed=settings.seed,
        pin_memory=device.type == "cuda",
    )
    state.model.train()
    freeze(job.backbone, frozen=_frozen(job, state))
    total, count, rate = torch.zeros(4, device=device), 0, 0.0
    for batch in loader:
        for message in batch.broken:
            job.log(f"skipped: {message}")
        rate = _set_rate(job, state)
        if len(batch.images):
            total += _step(job, state, batch)
            count += 1
        state.step += 1
        if count % CHECK_EVERY == 1:
            _require_finite(total, state)
    if not count:
        raise JobError("no training page could be read; see the lines above")
    _require_finite(total, state)
    state.epoch += 1
    names = ("loss/total", "loss/probability", "loss/threshold", "loss/binary")
    return dict(zip(names, (total / count).tolist(), strict=True)) | {"lr": rate}


def _frozen(job: Job, state: TrainingState) -> bool:
    settings = job.config.optimizer
    return settings.backbone_lr_ratio == 0 or state.epoch < settings.freeze_epochs


def _set_rate(job: Job, state: TrainingState) -> float:
    settings = job.config.optimizer
    factor = lr_factor(
        state.step,
        total_steps=job.steps_per_epoch * job.config.train.epochs,
        warmup_steps=round(settings.warmup_epochs * job.steps_per_epoch),
        schedule=settings.schedule,
    )
    return set_lr(state.optimizer, factor)


def _step(job: Job, state: TrainingState, batch: Batch) -> torch.Tensor:
    return update(
        state,
        batch.to(job.detector.device, channels_last=job.config.train.channels_last),
        loss=job.loss,
        amp=job.detector.amp,
        clip_norm=job.config.optimizer.clip_norm,
        log=job.log,
    )


def _params_m(state: TrainingState) -> float:
    return sum(p.numel() for p in state.model.parameters()) / 1e6


def _require_finite(total: torch.Tensor, state: TrainingState) -> None:
    if not torch.isfinite(total).all():
        raise JobError(
            f"the loss is not finite at step {state.step}; try a smaller optimizer.lr, "
            "a smaller optimizer.clip_norm or train.amp=off"
        )


def _validate(job: Job, state: TrainingState, monitor: Monitor) -> Validated:
    return validate(
        job.detector,
        job.val_pages,
        epoch=state.epoch,
        monitor=monitor,
        maps=job.folder / "maps" if job.config.train.sweep else None,
        workers=job.config.data.workers,
        log=job.log,
    )
