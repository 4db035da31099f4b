"""What a checkpoint must hold to be used: checked whole, before anything takes a value of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from detector.config.sections import describe_faults
from detector.core.errors import InputError
from detector.core.plain import parse_json
from detector.core.weight_files import MOST_SHOWN, is_finite, listed, misfits

# Of a float64, every whole number up to here is exact.
_MOST = 2**53
_Number = Annotated[int, Field(ge=-_MOST, le=_MOST)] | float
# What each optimizer keeps of a parameter that it has moved.
_KEPT = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}


class StateRecord(BaseModel):
    """The plain part of a training state, as `save_state` writes it."""

    model_config = ConfigDict(strict=True)

    epoch: int = Field(ge=0, le=_MOST)
    step: int = Field(ge=0, le=_MOST)
    seconds: float = Field(ge=0, allow_inf_nan=False)
    metrics: dict[str, _Number]
    # Files from before had none of these three.
    tuned: dict[str, bool | _Number | str | None] = {}
    page_hmeans: dict[str, _Number] = {}
    curve: dict[str, _Number | list[_Number]] = {}
    scaler: dict[str, _Number]
    config: dict[str, Any]


def read_state_record(path: Path, metadata: Mapping[str, str]) -> StateRecord:
    """The record in the metadata of a state file; InputError when it is not one."""
    if "state" not in metadata:
        raise InputError(
            f"{path}: holds no training state; give the last.safetensors of a training"
        )
    content = parse_json(metadata["state"], f"{path}: its state")
    try:
        return StateRecord.model_validate(content)
    except ValidationError as error:
        lines = describe_faults(error, StateRecord)[:MOST_SHOWN]
        raise InputError("\n".join(f"{path}: its state: {line}" for line in lines)) from None


def require_state(
    path: Path, tensors: Mapping[str, Tensor], state: Any, scaler: Mapping[str, Any]
) -> None:
    """Raise InputError when the tensors and the scaler's values of a file do not fit `state`.

    `state` is the `TrainingState` to fill. Names, shapes and dtypes must be its own, and every
    value finite; the random state must be one that PyTorch takes.
    """
    faults = [f"model/{f}" for f in misfits(state.model, below(tensors, "model/"), exact=True)]
    if state.ema is not None:
        own = state.ema.module
        faults += [f"ema/{f}" for f in misfits(own, below(tensors, "ema/"), exact=True)]
    faults += _optimizer_faults(state.optimizer, below(tensors, "optimizer/"))
    faults += _random_faults(tensors)
    wanted = state.scaler.state_dict()
    if wanted.keys() != scaler.keys() and wanted and scaler:
        faults.append(f"scaler has {', '.join(scaler)} instead of {', '.join(wanted)}")
    if faults:
        raise InputError(
            f"{path}: holds no state of this training: {listed(faults)}; "
            "use another checkpoint or another output folder"
        )


def _optimizer_faults(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> Iterator[str]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    known = _KEPT.get(type(optimizer))
    found: dict[int, set[str]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        if not (index.isascii() and index.isdigit() and len(index) < 10):
            yield f"unexpected optimizer/{name}"
            continue
        number = int(index)
        if number >= len(parameters) or (known is not None and key not in known):
            yield f"unexpected optimizer/{name}"
            continue
        found.setdefault(number, set()).add(key)
        shape = parameters[number].shape
        if value.shape not in (torch.Size(), shape) or (key != "step" and value.shape != shape):
            yield f"optimizer/{name} is {tuple(value.shape)} instead of {tuple(shape)}"
        elif not value.is_floating_point() or not is_finite(value):
            yield f"optimizer/{name} is not finite numbers ({value.dtype})"
    for number, keys in found.items():
        if known is not None and keys != known:
            yield f"missing optimizer/{number}/{min(known - keys)}"


def _random_faults(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    state = tensors.get("rng/cpu")
    if state is None:
        yield "missing rng/cpu"
        return
    try:
        torch.Generator().set_state(state)
    except (RuntimeError, TypeError):
        yield "rng/cpu is not a random state"
    cuda = tensors.get("rng/cuda")
    if cuda is not None and (cuda.dtype != torch.uint8 or cuda.ndim != 1):
        yield "rng/cuda is not a random state"


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, under the rest of their names."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
