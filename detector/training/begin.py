"""What a training begins with: its pages, its network with the first weights, and its record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from detector.config.settings import TrainConfig
from detector.config.training import peak_lr
from detector.core.commands import command
from detector.core.device import autocast_dtype, keep_freed_memory, set_threads, suits_channels_last
from detector.core.errors import InputError
from detector.core.weight_files import metadata_of
from detector.data.crops.batch import Unpack
from detector.data.crops.dataset import TrainingPages
from detector.data.crops.transforms import Augment
from detector.data.labels.annotations import Split, read_split, require_words
from detector.data.labels.pages import LabelRules
from detector.data.labels.trained import WordSizes, apart, marks_of_others, untrained
from detector.data.page.cache import PageCache, half_of_disk
from detector.data.page.preprocess import Preprocess
from detector.inference.detector import Detector, make_preprocess
from detector.inference.networks import kept_model, load_start, new_model, unused_settings
from detector.model.backbone import STRIDES
from detector.model.dbnet import Network
from detector.model.graph.starts import NONE
from detector.model.norm import keep_single_values
from detector.model.weights import load_backbone_weights
from detector.training.distributed.processes import device_of, threads_of
from detector.training.epoch import Job
from detector.training.loss import DBLoss
from detector.training.optimizer import Average, build_optimizer, parameter_groups
from detector.training.storage.provenance import Provenance, Weights, digest_of
from detector.training.storage.recording import keep_record
from detector.training.storage.state_file import TrainingState


def prepare(
    config: TrainConfig,
    folder: Path,
    log: Callable[[str], None],
    *,
    last: Path | None,
    rank: int = 0,
    expected: Provenance | None = None,
) -> tuple[Job, TrainingState]:
    """Read the data and build the model; pretrained weights only when training starts.

    `last` is the state that it will go on from, which says what network it is of; None when it
    starts. `rank` is that of this process among `train.processes`; the first one writes the record,
    which must agree with `expected`. Raises InputError for data or settings that cannot be used.
    """
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
    train_split, told = apart(train_split, val_split)
    if told is not None:
        log(f"{train_split.name}: {told}")
    if config.sweep.choose and len(val_split.pages) < 2:
        raise InputError(
            "sweep.choose: settings are chosen on half of the validation pages and scored on the "
            f"others, so at least 2 are needed, got {len(val_split.pages)}; add pages to the split "
            f"{config.data.val_split!r}, raise data.val_pages, or set sweep.choose=false"
        )
    kept = None if last is None else metadata_of(last)
    model = new_model(config) if kept is None else kept_model(config, kept, str(last))
    if rank == 0:
        weights = _begin(config, model, log) if kept is None else None
        splits = (train_split, val_split)
        keep_record(folder, config, splits, weights, device, expected=expected, log=log)
    if world == 1:  # several share their statistics (see `share_statistics`)
        keep_single_values(model)
        _tell_single_values(config, log)
    channels_last = place(model, config, device)
    in_training, preprocess = (
        make_preprocess(config, mean=model.mean, std=model.std, training=training)
        for training in (True, False)
    )
    state = new_state(model, config, device)
    amp = autocast_dtype(config.train.amp, device)
    detector = Detector(state.evaluated, preprocess, config.postprocess, device, amp)
    samples = _samples(config, train_split, in_training, log)
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
        unpack=Unpack(model.mean, model.std, device, channels_last=channels_last),
        log=log,
    )
    return job, state


def _begin(config: TrainConfig, model: Network, log: Callable[[str], None]) -> Weights:
    """Load the weights that a new training starts from; what they are, which `log` is told too."""
    if config.train.init == NONE:
        backbone, settings = model.backbone, config.model
        origin = load_backbone_weights(backbone, settings.backbone, settings.weights)
        log(origin)
        return Weights(source=origin, digest=digest_of(backbone.body.state_dict()))
    begun = load_start(model, config.train.init)
    log(begun.source)
    if (told := unused_settings(model)) is not None:
        log(told)
    return Weights(source=begun.source, digest=digest_of(begun.tensors), licence=begun.licence)


def _tell_single_values(config: TrainConfig, log: Callable[[str], None]) -> None:
    """Say where no batch has the statistics that the deepest maps are to be normalised with."""
    settings, side = config.train, config.augment.crop_px
    if side <= STRIDES[-1] and settings.batch_size <= settings.accumulate:
        log(
            f"augment.crop_px={side} with one crop at a time leaves one value per channel in the "
            "deepest maps: batch norm keeps the statistics it begins with there; to learn them, "
            f"use augment.crop_px={2 * STRIDES[-1]}, a larger train.batch_size or a smaller "
            "train.accumulate"
        )


def _read(config: TrainConfig, name: str, limit: int | None, log: Callable[[str], None]) -> Split:
    assert config.data.root is not None
    rules = LabelRules(**config.data.rules())
    split = read_split(
        config.data.root, name, limit=limit, exclude=config.data.exclude, rules=rules
    )
    sizes = WordSizes(
        longest_side_px=config.data.longest_side_px,
        shortest_side_px=config.preprocess.shortest_side_px,
        crop_margin=config.preprocess.crop_margin if config.preprocess.crop else None,
        min_side_px=config.targets.min_side_px,
    )
    require_words(split, config.data.root, sizes)
    words = sum(len(page.words) for page in split.pages)
    log(f"{name}: {len(split.pages)} pages, {words} words")
    if (told := untrained(split, sizes)) is not None:
        log(f"{name}: {told}")
    if (marks := marks_of_others(split, rules.dont_care)) is not None:
        log(f"{name}: {marks}")
    if split.faults:
        kinds = Counter(fault.kind for fault in split.faults)
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        log(
            f"{name}: {len(split.faults)} annotation faults ({counts}); "
            f"{command('detector.inspect', {'data.root': config.data.root})} lists them"
        )
    return split


def _samples(
    config: TrainConfig, split: Split, preprocess: Preprocess, log: Callable[[str], None]
) -> TrainingPages:
    augment = Augment(
        longest_side_px=preprocess.longest_side_px,
        shortest_side_px=preprocess.shortest_side_px,
        **config.augment.model_dump(),
    )
    return TrainingPages(
        split.pages,
        augment,
        preprocess,
        seed=config.train.seed,
        cache=_cache(config, log),
        **config.targets.model_dump(),
    )


def _cache(config: TrainConfig, log: Callable[[str], None]) -> PageCache | None:
    """Where prepared pages are kept; a folder nobody named is told when it is made."""
    folder, most = config.data.cache_folder(), round(config.data.cache_gb * 1e9)
    if folder is None:
        return None
    if config.data.cache != "auto":
        return PageCache(folder, most)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = not folder.exists()
        folder.mkdir(mode=0o700, exist_ok=True)  # pages may be of others' business
        most = min(most, half_of_disk(folder))
    except OSError as error:
        log(f"data.cache=auto: no page is kept, since {folder} cannot be made ({error.strerror})")
        return None
    if new:
        log(
            f"data.cache=auto: prepared pages are kept in {folder}, {most / 1e9:.3g} GB at most; "
            "data.cache=null keeps none"
        )
    return PageCache(folder, most)


def place(model: Network, config: TrainConfig, device: torch.device) -> bool:
    """Move `model` to its device and memory layout; whether that is channels last."""
    model.to(device)
    last = config.train.channels_last
    if last is None:
        last = suits_channels_last(model.backbone, device)
    if last:
        model.to(memory_format=torch.channels_last)
    return last


def new_state(model: Network, config: TrainConfig, device: torch.device) -> TrainingState:
    """The state of a training before its first step, for a model that has its place."""
    settings = config.optimizer
    groups = parameter_groups(
        model,
        backbone=model.backbone,
        lr=peak_lr(settings.name, settings.lr),
        backbone_lr_ratio=settings.backbone_lr_ratio,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay,
    )
    optimizer = build_optimizer(groups, name=settings.name, momentum=settings.momentum)
    ema = None
    if settings.ema_decay > 0:
        # The warm-up lets a short training forget its random start.
        ema = Average(model, decay=settings.ema_decay, use_warmup=True)
    fp16 = autocast_dtype(config.train.amp, device) is torch.float16
    scaler = torch.amp.GradScaler(device.type, enabled=fp16)
    run = config.train
    if run.grad_checkpointing:  # the average, which has no backward pass, was made without
        model.backbone.checkpoint_stages()
    if run.compile:
        model.compile_training()
    return TrainingState(
        *(model, ema, optimizer, scaler),
        parts=run.accumulate,
        checkpointing=run.grad_checkpointing,
    )
