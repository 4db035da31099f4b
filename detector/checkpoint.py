"""Weights and training state as safetensors plus JSON; nothing is ever unpickled.

A checkpoint folder holds `last.safetensors` (all that an exact resume needs), the one before it
(see `detector.generations`) and `best/` (`model.safetensors` with `config.yaml`: all that
prediction needs).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from detector.cli import yaml_mapping, yaml_text
from detector.config import SweepConfig, TrainConfig
from detector.errors import InputError
from detector.files import of_one_generation, replacing, replacing_folder, write_text
from detector.generations import CHECKSUM, checksum
from detector.optim import peak_lr
from detector.plain import dump_yaml, parse_json
from detector.settings import describe_faults, field_names, flatten
from detector.state_check import below, listed, misfits, read_state_record, require_state

# Settings that change where or how fast a job runs or what it tells, not what it computes
# (a cache resamples large pages twice, which is less than another seed does).
PLACEMENT = (
    *("data.root", "data.workers", "data.cache", "data.cache_gb"),
    *("train.device", "train.threads", "train.processes", "train.channels_last"),
    *("train.sweep", "model.weights"),
)
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
    tuned: dict[str, Any] = field(default_factory=dict)  # by the sweep of the last validation
    parts: int = 1  # a batch is worked through in; not kept, since machines differ

    @property
    def evaluated(self) -> nn.Module:
        """The weights that are scored and kept: the average when there is one."""
        return self.model if self.ema is None else self.ema.module


def save_state(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Write the whole training state to one file, atomically."""
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
    record = {
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.seconds,
        "metrics": state.metrics,
        "tuned": state.tuned,
        "scaler": state.scaler.state_dict(),
        "config": config.model_dump(mode="json"),
    }
    _save(path, tensors, {"state": json.dumps(record)})


def load_state(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Fill `state` from a file, exactly; InputError when it is broken or of another config."""
    tensors, metadata = _load(path)
    record = read_state_record(path, metadata)
    _require_same(path, record.config, config)
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
        optimizer.state[parameter][key] = value


def _require_same(path: Path, saved: dict[str, Any], config: TrainConfig) -> None:
    # A setting that is younger than the file had its default then.
    old = flatten(TrainConfig().model_dump(mode="json")) | flatten(saved)
    new = flatten(config.model_dump(mode="json"))
    for flat in (old, new):  # a rate left to the optimizer equals the same rate given
        with suppress(LookupError, TypeError):  # no optimizer's name, which is told below
            flat["optimizer.lr"] = peak_lr(flat["optimizer.name"], flat["optimizer.lr"])
    free = PLACEMENT if config.sweep.choose else (*PLACEMENT, *_TRIED)
    changed = [
        f"{key}: {old.get(key)!r} when it was saved, {value!r} now"
        for key, value in new.items()
        if old.get(key) != value and key not in free
    ]
    if changed:
        raise InputError(
            f"{path}: was trained with other settings, so it cannot be resumed with these; "
            "use the former values or another output folder\n" + "\n".join(changed)
        )


def save_best(
    folder: Path, model: nn.Module, config: TrainConfig, scores: dict[str, float]
) -> None:
    """Replace a folder by one with `model.safetensors` and `config.yaml`, both or neither."""
    metadata = {"config": json.dumps(config.model_dump(mode="json")), "scores": json.dumps(scores)}
    with replacing_folder(folder) as fresh:
        write_config(fresh / "config.yaml", config)
        _save(fresh / "model.safetensors", model.state_dict(), metadata)


def write_config(path: Path, config: TrainConfig) -> None:
    """Replace a `config.yaml`, atomically."""
    write_text(path, dump_yaml(config.model_dump(mode="json")))


def find_best(checkpoint: Path) -> Path:
    """The model.safetensors of a `best/` folder, or of a folder above it; InputError if none."""
    choices = [
        checkpoint,
        checkpoint / "model.safetensors",
        checkpoint / "best" / "model.safetensors",
        checkpoint / "checkpoint" / "best" / "model.safetensors",
    ]
    path = next((c for c in choices if c.is_file()), None)
    if path is None:
        raise InputError(
            f"checkpoint={checkpoint}: no model.safetensors there; give the best/ folder of a run"
        )
    return path


def read_best(checkpoint: Path) -> tuple[dict[str, Tensor], TrainConfig]:
    """Weights and config of what `find_best` finds, written together.

    `config.yaml` counts where it differs from the config inside the weights: that is how
    settings are chosen afterwards.
    """
    path = find_best(checkpoint)
    settings_file = path.with_name("config.yaml")
    tensors, metadata, text = of_one_generation(
        path.parent,
        lambda: (*_load(path), yaml_text(settings_file) if settings_file.is_file() else None),
    )
    if text is not None:
        settings = yaml_mapping(text, settings_file)
    elif "config" in metadata:
        settings = parse_json(metadata["config"], f"{path}: its config")
    else:
        raise InputError(f"{settings_file}: missing; it is written beside the weights")
    try:
        return tensors, TrainConfig.model_validate(settings)
    except ValidationError as error:
        lines = describe_faults(error, TrainConfig)
        raise InputError("\n".join(f"{settings_file}: {line}" for line in lines)) from None


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a model of the same shape; InputError names what does not fit."""
    faults = misfits(model, tensors, exact=False)
    if faults:
        raise InputError(
            f"{path}: the weights do not fit the model of its config.yaml: {listed(faults)}"
        )
    model.load_state_dict(tensors)


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    plain = {k: v.detach().to("cpu", copy=False).contiguous() for k, v in tensors.items()}
    buffers = ((k, v.reshape(-1).view(torch.uint8).numpy().data) for k, v in plain.items())
    with replacing(path) as temporary:
        save_file(plain, temporary, metadata | {CHECKSUM: checksum(buffers)})


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    # Readers raise almost anything on damage: an unknown dtype or a size beyond 64 bits.
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None
