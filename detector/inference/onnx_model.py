"""A detector in one ONNX file: what is written beside the graph, and running it again.

The graph takes `images`, `(N, 3, H, W)` float32 as `Preprocess` makes them, and gives
`probability`, `(N, 1, H, W)` float32 in [0, 1]. The model's metadata hold, as JSON, the
`preprocess`, the `postprocess` settings, the name of the `backbone` and the training's
`config`, so the file needs nothing beside it.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from detector.config.sections import flatten, nest
from detector.config.settings import PLACEMENT, TrainConfig, as_kept, with_values
from detector.core.errors import InputError
from detector.data.page.preprocess import Preprocess
from detector.model.dbnet import Maps

INPUT, OUTPUT = "images", "probability"
_INSTALL = "pip install -e '.[onnx]'"


def optional(name: str) -> ModuleType:
    """The module of an optional package; InputError says how to get it when it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{name}: needed for ONNX files but cannot be imported ({error}); {_INSTALL}"
        ) from None


def is_onnx(path: Path) -> bool:
    """Whether a checkpoint is named as an ONNX file."""
    return path.suffix.lower() == ".onnx"


class OnnxNetwork(nn.Module):
    """Stands in for a trained `DBNet`; onnxruntime does the work.

    It has no parameters: moving it, or autocast, changes nothing. On a GPU it runs there when
    the installed onnxruntime can, else on the CPU. Raises InputError when `model`, a path or
    the bytes of a file, is not a model that onnxruntime can load.
    """

    def __init__(self, model: Path | bytes, device: torch.device | None = None) -> None:
        super().__init__()
        runtime = optional("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        wanted = ["CUDAExecutionProvider"] if device is not None and device.type == "cuda" else []
        able = runtime.get_available_providers()
        providers = [p for p in wanted if p in able] + ["CPUExecutionProvider"]
        try:
            source = model if isinstance(model, bytes) else str(model)
            self.session = runtime.InferenceSession(source, options, providers=providers)
        except Exception as error:  # onnxruntime's own classes share no other base
            name = "the model" if isinstance(model, bytes) else model
            raise InputError(f"{name}: onnxruntime cannot load it ({error})") from None

    def probability(self, images: Tensor) -> Tensor:
        """What the file gives for `images` `(N, 3, H, W)`: `(N, 1, H, W)` in [0, 1]."""
        batch = images.detach().to("cpu", torch.float32).contiguous().numpy()
        (found,) = self.session.run([OUTPUT], {INPUT: batch})
        return torch.from_numpy(found).to(images.device)

    def forward(self, images: Tensor) -> Maps:
        """Logit maps, as a `DBNet` in eval mode gives them."""
        return Maps(torch.logit(self.probability(images)), None)


def make_metadata(preprocess: Preprocess, config: TrainConfig) -> dict[str, str]:
    """The metadata of an exported model; settings that name places of a machine are left out."""
    flat = flatten(config.model_dump(mode="json"))
    places = (*PLACEMENT, "train.init")
    settings = nest({key: value for key, value in flat.items() if key not in places})
    parts = {
        "preprocess": preprocess.to_dict(),
        "postprocess": settings.pop("postprocess"),
        "backbone": config.model.backbone,
        "config": settings,
    }
    return {key: json.dumps(value) for key, value in parts.items()}


def read_onnx(path: Path, device: torch.device) -> tuple[OnnxNetwork, Preprocess, TrainConfig]:
    """The network of an ONNX file with what its metadata say.

    Raises InputError when the file is missing, cannot be loaded or was not written by
    `detector.export`.
    """
    if not path.is_file():
        raise InputError(f"checkpoint={path}: no such file")
    network = OnnxNetwork(path, device)
    metadata = network.session.get_modelmeta().custom_metadata_map
    parts = {key: _json(path, metadata, key) for key in ("preprocess", "postprocess", "config")}
    settings = as_kept(parts["config"] | {"postprocess": parts["postprocess"]})
    config = with_values(TrainConfig(), flatten(settings))
    return network, Preprocess.from_dict(parts["preprocess"]), config


def _json(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(
            f"{path}: its metadata hold no {key!r}; write the file with python -m detector.export"
        )
    return value
