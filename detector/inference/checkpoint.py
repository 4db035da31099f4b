"""The best weights of a training with their settings: `best/`, all that prediction needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor, nn

from detector.config.cli import yaml_mapping, yaml_text
from detector.config.sections import describe_faults
from detector.config.settings import TrainConfig, as_kept
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.core.folders import of_one_generation, replacing_folder
from detector.core.plain import dump_yaml, parse_json
from detector.core.weight_files import listed, load_tensors, misfits, save_tensors

WEIGHTS = "model.safetensors"  # in a `best/`


@dataclass(frozen=True, eq=False)
class Kept:
    """What is in a `best/`: weights, what stands beside them in their file, and the settings."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    config: TrainConfig


def save_best(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: TrainConfig,
    scores: dict[str, float],
    network: Mapping[str, str] | None = None,
) -> None:
    """Replace a folder by one with `model.safetensors` and `config.yaml`, both or neither.

    `network` is what the network says of itself (`Network.metadata`).
    """
    metadata = {"config": json.dumps(config.model_dump(mode="json")), "scores": json.dumps(scores)}
    metadata |= network or {}
    with replacing_folder(folder) as fresh:
        write_config(fresh / "config.yaml", config)
        save_tensors(fresh / WEIGHTS, weights, metadata)


def write_config(path: Path, config: TrainConfig) -> None:
    """Replace a `config.yaml`, atomically."""
    write_text(path, dump_yaml(config.model_dump(mode="json")))


def find_best(checkpoint: Path, key: str = "checkpoint") -> Path:
    """The model.safetensors of a `best/` folder, or of a folder above it; InputError if none.

    `key` is the setting that names it.
    """
    choices = [
        checkpoint,
        checkpoint / WEIGHTS,
        checkpoint / "best" / WEIGHTS,
        checkpoint / "checkpoint" / "best" / WEIGHTS,
    ]
    path = next((c for c in choices if c.is_file()), None)
    if path is None:
        raise InputError(
            f"{key}={checkpoint}: no model.safetensors there; give the best/ folder of a run"
        )
    return path


def read_best(checkpoint: Path) -> tuple[dict[str, Tensor], TrainConfig]:
    """Weights and config of what `find_best` finds, as `read_kept` reads them."""
    kept = read_kept(checkpoint)
    return kept.tensors, kept.config


def read_kept(checkpoint: Path) -> Kept:
    """All of what `find_best` finds, written together.

    `config.yaml` counts where it differs from the config inside the weights: that is how
    settings are chosen afterwards.
    """
    path = find_best(checkpoint)
    settings_file = path.with_name("config.yaml")
    tensors, metadata, text = of_one_generation(
        path.parent,
        lambda: (
            *load_tensors(path),
            yaml_text(settings_file) if settings_file.is_file() else None,
        ),
    )
    if text is not None:
        settings = yaml_mapping(text, settings_file)
    elif "config" in metadata:
        settings = parse_json(metadata["config"], f"{path}: its config")
    else:
        raise InputError(f"{settings_file}: missing; it is written beside the weights")
    try:
        return Kept(tensors, metadata, TrainConfig.model_validate(as_kept(settings)))
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
