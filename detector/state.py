"""A network made ready to be trained: where it lies, and what changes while it learns."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3

from detector.checkpoint import TrainingState
from detector.config import TrainConfig
from detector.device import autocast_dtype, suits_channels_last
from detector.model.dbnet import DBNet
from detector.optim import build_optimizer, parameter_groups, peak_lr


def place(model: DBNet, config: TrainConfig, device: torch.device) -> bool:
    """Move `model` to its device and memory layout; whether that is channels last."""
    model.to(device)
    last = config.train.channels_last
    if last is None:
        last = suits_channels_last(model.backbone, device)
    if last:
        model.to(memory_format=torch.channels_last)
    return last


def new_state(model: DBNet, config: TrainConfig, device: torch.device) -> TrainingState:
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
        ema = ModelEmaV3(model, decay=settings.ema_decay, use_warmup=True)
    fp16 = autocast_dtype(config.train.amp, device) is torch.float16
    scaler = torch.amp.GradScaler(device.type, enabled=fp16)
    return TrainingState(model, ema, optimizer, scaler, parts=config.train.accumulate)
