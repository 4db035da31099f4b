"""Weights and training state as safetensors plus JSON; nothing is ever unpickled.

A checkpoint folder holds `last.safetensors` (all that an exact resume needs), the one before it
(see `detector.training.storage.generations`) and `best/` (`model.safetensors` with
`config.yaml`: all that prediction needs).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from detector.config.sections import field_names, flatten
from detector.config.settings import PLACEMENT, SweepConfig, TrainConfig, as_kept
from detector.config.training import peak_lr
from detector.core.errors import InputError
from detector.core.weight_files import load_tensors, save_tensors
from detector.model.dbnet import metadata_beside
from detector.training.storage.state_check import (
    StateRecord,
    below,
    read_state_record,
    require_state,
)

EPOCHS = "train.epochs"
# Where the sweep chooses nothing, the values it tries are among those too.
_TRIED = tuple(f"sweep.{key}" for key in field_names(SweepConfig) if key != "choose")


@dataclass
class TrainingState:
    """Everything that changes while training; `epoch` and `step` count what is finished."""

    model: nn.Module
    ema: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    # Of the last validation: the settings found by the sweep, the H-mean of every page, and of
    # the best one how it depends on box_thresh.
    tuned: dict[str, Any] = field(default_factory=dict)
    page_hmeans: dict[str, float] = field(default_factory=dict)
    curve: dict[str, Any] = field(default_factory=dict)
    # Not kept, since machines differ: the parts that a batch is worked through in, and whether the
    # backward pass computes activations again.
    parts: int = 1
    checkpointing: bool = False

    @property
    def evaluated(self) -> nn.Module:
        """The weights that are scored and kept: the average when there is one."""
        return self.model if self.ema is None else self.ema.module


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a training is made of after an epoch, beside the figures of a TrainingState.

    A copy on the CPU may be written while the training goes on.
    """

    epoch: int
    step: int
    seconds: float
    tensors: dict[str, Tensor]
    scaler: dict[str, Any]

    @property
    def evaluated(self) -> dict[str, Tensor]:
        """The weights that are scored and kept: the average when there is one."""
        return below(self.tensors, "ema/") or below(self.tensors, "model/")


def snapshot(state: TrainingState, *, copied: bool) -> Snapshot:
    """The state as it is now: a copy, or its own tensors, which the next step changes."""
    tensors = {f"model/{k}": v for k, v in state.model.state_dict().items()}
    if state.ema is not None:
        tensors |= {f"ema/{k}": v for k, v in state.ema.module.state_dict().items()}
    for index, parameter in enumerate(_parameters(state.optimizer)):
        for key, value in state.optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[f"optimizer/{index}/{key}"] = value
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    if copied:
        tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
    return Snapshot(state.epoch, state.step, state.seconds, tensors, state.scaler.state_dict())


def save_state(
    path: Path, state: TrainingState, config: TrainConfig, taken: Snapshot | None = None
) -> None:
    """Write a training to one file, atomically: what was taken of it, else `state` as it is now.

    The figures are those in `state`.
    """
    taken = taken or snapshot(state, copied=False)
    record = {
        "epoch": taken.epoch,
        "step": taken.step,
        "seconds": taken.seconds,
        "metrics": state.metrics,
        "tuned": state.tuned,
        "page_hmeans": state.page_hmeans,
        "curve": state.curve,
        "scaler": taken.scaler,
        "config": config.model_dump(mode="json"),
    }
    save_tensors(path, taken.tensors, {"state": json.dumps(record)} | metadata_beside(state.model))


def load_state(path: Path, state: TrainingState, config: TrainConfig) -> int:
    """Fill `state` from a file, exactly, and return the `train.epochs` that it was trained with.

    They may be fewer than those of `config` once all of them are done. InputError for a file that
    is broken or of another config.
    """
    tensors, metadata = load_tensors(path)
    record = read_state_record(path, metadata)
    names = [*tensors, *(f"model/{k}" for k in state.model.state_dict())]
    normed = any(name.startswith("model/norms.") for name in names)
    epochs = _require_same(path, record, config, normed=normed)
    require_state(path, tensors, state, record.scaler)
    state.model.load_state_dict(below(tensors, "model/"))
    if state.ema is not None:
        state.ema.module.load_state_dict(below(tensors, "ema/"))
    _load_optimizer(state.optimizer, below(tensors, "optimizer/"))
    if record.scaler:  # saved where nothing was scaled, it is empty
        state.scaler.load_state_dict(record.scaler)
    torch.set_rng_state(tensors["rng/cpu"])
    if "rng/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng/cuda"])
    state.epoch, state.step = record.epoch, record.step
    state.seconds, state.metrics, state.tuned = record.seconds, record.metrics, record.tuned
    state.page_hmeans, state.curve = record.page_hmeans, record.curve
    return epochs


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # empty_like keeps the parameter's memory layout, so later steps round alike
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        elif optimizer.defaults["fused"]:  # its kernel counts steps on the device
            value = value.to(parameter.device)
        optimizer.state[parameter][key] = value


def _require_same(path: Path, record: StateRecord, config: TrainConfig, *, normed: bool) -> int:
    """The `train.epochs` of a state; InputError when `config` has other settings."""
    # Mostly, a setting that is younger than the file had its default then.
    old = flatten(TrainConfig().model_dump(mode="json")) | flatten(as_kept(record.config))
    new = flatten(config.model_dump(mode="json"))
    for flat in (old, new):  # a rate left to the optimizer equals the same rate given
        with suppress(LookupError, TypeError):  # no optimizer's name, which is told below
            flat["optimizer.lr"] = peak_lr(flat["optimizer.name"], flat["optimizer.lr"])
    free = PLACEMENT if config.sweep.choose else (*PLACEMENT, *_TRIED)
    longer = record.epoch == old[EPOCHS] < new[EPOCHS]
    if not normed:  # a backbone with batch norm, to which the setting means nothing
        free = (*free, "model.norm_maps")
    changed = [
        f"{key}: {old.get(key)!r} when it was saved, {value!r} now"
        for key, value in new.items()
        if old.get(key) != value and key not in free and not (longer and key == EPOCHS)
    ]
    if old[EPOCHS] != new[EPOCHS] and not longer:
        changed.append(
            f"more epochs can follow when all are done: here {record.epoch} of {old[EPOCHS]} are; "
            "one that train.patience has ended is trained anew, in another output folder"
        )
    if changed:
        raise InputError(
            f"{path}: was trained with other settings, so it cannot be resumed with these; "
            "use the former values or another output folder\n" + "\n".join(changed)
        )
    return int(old[EPOCHS])
