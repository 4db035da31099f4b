"""One training, from a config to the best weights by H-mean, resumable to the bit."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from detector.checkpoint import TrainingState, load_state, save_best, save_state
from detector.cli import log as log_to_stderr
from detector.config import TrainConfig
from detector.data.annotations import Split, read_split, require_words
from detector.data.cache import PageCache
from detector.data.dataset import TrainingPages
from detector.data.preprocess import Preprocess
from detector.data.transforms import Augment
from detector.device import autocast_dtype, set_threads
from detector.distributed import device_of, shared, threads_of
from detector.epoch import Job, train_epoch
from detector.errors import InputError
from detector.inference import Detector, make_preprocess, new_model
from detector.loss import DBLoss
from detector.memory import keep_freed_memory
from detector.model.backbone import Backbone
from detector.model.shared_norm import share_statistics
from detector.model.weights import load_backbone_weights
from detector.monitor import Monitor
from detector.peers import Peers
from detector.provenance import Provenance, keep_record
from detector.state import new_state, place
from detector.sweep_scores import SweepScores
from detector.validation import STALE, Validated, curves, epoch_line, record, validate


@dataclass(frozen=True)
class EpochReport:
    """What a finished and validated epoch gave.

    `epoch` counts from 1. `metrics` holds the figures of this epoch and, as `best_*`, those
    of the best epoch so far. `checkpoint` is a folder complete in itself. `finished` says that
    the training is over: all epochs are done, or patience has run out. `swept` has the scores at
    every post-processing setting tried; None without a sweep, and when nothing was left to train.
    """

    epoch: int
    metrics: dict[str, float]
    page_hmeans: dict[str, float]
    checkpoint: Path
    finished: bool
    swept: SweepScores | None = None


def train(
    config: TrainConfig,
    folder: Path,
    *,
    report: Callable[[EpochReport], None] | None = None,
    resume: bool = False,
    expected: Provenance | None = None,
    log: Callable[[str], None] = log_to_stderr,
) -> EpochReport:
    """Train as `config` says and return the last report.

    Writes `folder/checkpoint/` (see `detector.checkpoint`), TensorBoard events and
    `folder/record.json`, what the training was made from. With `resume` it continues after
    the last finished epoch, and on a CPU the weights equal those of an uninterrupted training
    bit for bit. `expected` is the record of another training, which this one repeats. With
    several processes (`train.processes`) this one leads: it alone writes, reports and logs.
    Raises InputError for unusable data or settings, and data or weights that are not those of
    `expected`, and JobError for a loss or score that is not finite and for a process that ended.
    """
    checkpoint = folder / "checkpoint"
    last = checkpoint / "last.safetensors"
    if last.exists() and not resume:
        raise InputError(f"{folder}: holds a training already; add resume=true or choose another")
    job, state = _prepare(config, folder, log, fresh=not last.exists(), expected=expected)
    if last.exists():
        load_state(last, state, config)
        log(f"resuming after epoch {state.epoch} of {config.train.epochs}")
    world, cuda = config.train.processes, job.detector.device.type == "cuda"
    with shared(world, cuda=cuda, work=_follow, arguments=(config, folder)) as peers:
        return _lead(replace(job, peers=peers), state, report)


def _lead(
    job: Job, state: TrainingState, report: Callable[[EpochReport], None] | None
) -> EpochReport:
    """Train to the end, keep what comes of it, and return the last report."""
    config, folder, log, peers = job.config, job.folder, job.log, job.peers
    checkpoint = folder / "checkpoint"
    last = checkpoint / "last.safetensors"
    _join(job, state)
    monitor = Monitor(folder, finished=state.epoch)
    result = EpochReport(state.epoch, state.metrics, {}, checkpoint, _over(state, config))
    try:
        while not peers.told(_over(state, config)):
            started = time.monotonic()
            losses = train_epoch(job, state)
            scores = None
            if _is_validated(state, config):
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
                    epoch=state.epoch,
                    metrics=dict(state.metrics),
                    page_hmeans=scores.page_hmeans,
                    checkpoint=checkpoint,
                    finished=over,
                    swept=scores.swept,
                )
                if report is not None:
                    report(result)
    finally:
        monitor.close()
    return result


def _follow(peers: Peers, config: TrainConfig, folder: Path) -> None:
    """Train as the process that does not lead: the same steps, and a share of the pages."""
    job, state = _prepare(config, folder, lambda _: None, fresh=False, rank=peers.rank)
    last = folder / "checkpoint" / "last.safetensors"
    if last.exists():
        load_state(last, state, config)
    job = replace(job, peers=peers)
    _join(job, state)
    while not peers.told(_over(state, config)):
        train_epoch(job, state)
        if _is_validated(state, config):
            _validate(job, state, None)


def _join(job: Job, state: TrainingState) -> None:
    """Start from the leader's weights, and look at the batches of all."""
    job.peers.same_weights(state.model)
    if state.ema is not None:
        job.peers.same_weights(state.ema.module)
    share_statistics(state.model, job.peers)


def _is_validated(state: TrainingState, config: TrainConfig) -> bool:
    return state.epoch % config.train.eval_every == 0 or state.epoch == config.train.epochs


def _over(state: TrainingState, config: TrainConfig) -> bool:
    """Whether nothing is left to train: of the state alone, so that a resume agrees."""
    patience = config.train.patience
    stale = state.metrics.get(STALE, 0)
    return state.epoch >= config.train.epochs or (patience > 0 and stale >= patience)


def _prepare(
    config: TrainConfig,
    folder: Path,
    log: Callable[[str], None],
    *,
    fresh: bool,
    rank: int = 0,
    expected: Provenance | None = None,
) -> tuple[Job, TrainingState]:
    """Read the data and build the model; pretrained weights only when training starts."""
    if config.data.root is None:
        raise InputError("data.root: no dataset folder given; add data.root=FOLDER")
    world = config.train.processes
    set_threads(threads_of(config.train.threads, world))
    torch.manual_seed(config.train.seed)
    device = device_of(config.train.device, rank, world)
    if device.type == "cpu":
        keep_freed_memory()
    train_split = _read(config, config.data.train_split, config.data.train_pages, log)
    val_split = _read(config, config.data.val_split, config.data.val_pages, log)
    model = new_model(config)
    if rank == 0:
        splits, given = (train_split, val_split), model.backbone
        _begin(config, folder, splits, given, device, fresh=fresh, expected=expected, log=log)
    channels_last = place(model, config, device)
    preprocess = make_preprocess(config, mean=model.mean, std=model.std)
    state = new_state(model, config, device)
    amp = autocast_dtype(config.train.amp, device)
    detector = Detector(state.evaluated, preprocess, config.postprocess, device, amp)
    samples = _samples(config, train_split, preprocess)
    steps = math.ceil(len(samples) / config.train.batch_size)
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    job = Job(
        config=config,
        folder=folder,
        detector=detector,
        samples=samples,
        val_pages=val_split.pages,
        loss=loss,
        steps_per_epoch=steps,
        backbone=model.backbone,
        channels_last=channels_last,
        log=log,
    )
    return job, state


def _begin(
    config: TrainConfig,
    folder: Path,
    splits: tuple[Split, Split],
    backbone: Backbone,
    device: torch.device,
    *,
    fresh: bool,
    expected: Provenance | None,
    log: Callable[[str], None],
) -> None:
    """Load the pretrained weights of a new training, and keep what it was made from."""
    origin = None
    if fresh:
        origin = load_backbone_weights(backbone, config.model.backbone, config.model.weights)
        log(origin)
    keep_record(folder, config, splits, backbone, origin, device, expected=expected, log=log)


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


def _samples(config: TrainConfig, split: Split, preprocess: Preprocess) -> TrainingPages:
    augment = Augment(
        longest_side_px=preprocess.longest_side_px,
        shortest_side_px=preprocess.shortest_side_px,
        **config.augment.model_dump(),
    )
    cache = None
    if config.data.cache is not None:
        size = round(config.data.cache_gb * 1e9)
        cache = PageCache(config.data.cache, size, preprocess.preparation, preprocess.fill)
    return TrainingPages(
        split.pages,
        augment,
        preprocess,
        seed=config.train.seed,
        cache=cache,
        **config.targets.model_dump(),
    )


def _params_m(state: TrainingState) -> float:
    return sum(p.numel() for p in state.model.parameters()) / 1e6


def _validate(job: Job, state: TrainingState, monitor: Monitor | None) -> Validated | None:
    job.peers.same_weights(state.evaluated)
    return validate(
        job.detector,
        job.val_pages,
        epoch=state.epoch,
        monitor=monitor,
        maps=job.folder / "maps" if job.config.train.sweep else None,
        workers=job.config.data.workers,
        log=job.log,
        peers=job.peers,
    )
