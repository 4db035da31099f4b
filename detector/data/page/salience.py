"""Networks of rembg's kind, which mark the salient object of a photograph."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from detector.core.errors import InputError
from detector.core.files import expand_home

Image = NDArray[np.uint8]
Salience = Callable[[Image], Image]  # (H, W, 3) RGB to (H, W), high on the salient object

# Of rembg's models those with one file, NAME.onnx, that mark the salient object. Others need
# clicks, mark clothes, or send the page to a service.
MODELS = (
    "u2net",
    "u2netp",
    "silueta",
    "isnet-general-use",
    "birefnet-general",
    "birefnet-general-lite",
    "bria-rmbg",
)

_REMEDY = "or set preprocess.background=paper, which needs no network"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of U2-Net's training
_INPUT_PX = 320  # side of U2-Net's input


def find_model(model: str) -> Path:
    """The file of a model, by its path or as rembg stores it; never downloaded.

    Raises InputError when it is missing, is no name of `MODELS`, or rembg is not installed.
    """
    if not _is_path(model):
        return _find_named(model)
    path = expand_home(model)
    if not path.is_file():
        raise InputError(
            f"preprocess.background_model: no such file {model}; give the path of an ONNX file "
            f"or one of {', '.join(MODELS)}, {_REMEDY}"
        )
    return path


def _is_path(model: str) -> bool:
    return model.lower().endswith(".onnx") or os.sep in model


def _find_named(model: str) -> Path:
    if model not in MODELS:
        raise InputError(
            f"preprocess.background_model: must be the path of an ONNX file or one of "
            f"{', '.join(MODELS)}, got {model!r}"
        )
    kind, name = _rembg_class(model), f"{model}.onnx"
    if hasattr(kind, "model_dir"):
        places = [Path(kind.model_dir()) / name, Path(kind.legacy_home()) / name]
    else:  # before rembg gave each model a folder
        places = [Path(kind.u2net_home()) / name]
    for place in places:
        if place.is_file():
            return place
    raise InputError(
        f"preprocess.background_model: the file of {model!r} is missing, expected as {places[0]} "
        "(below U2NET_HOME, or REMBG_HOME); fetch it once with "
        f"`python -c \"import rembg; rembg.new_session('{model}')\"` or copy it there, {_REMEDY}"
    )


def _rembg_class(model: str) -> Any:
    for kind in _optional("rembg.sessions").sessions_class:
        if kind.name() == model:
            return kind
    raise InputError(
        f"preprocess.background_model: the installed rembg has no {model!r}; update it with "
        f"pip install -U 'rembg[cpu]', {_REMEDY}"
    )


def _optional(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, SystemExit) as error:  # rembg exits when onnxruntime is missing
        raise InputError(
            f"preprocess.background=rembg: {name.partition('.')[0]} cannot be imported ({error}); "
            f"pip install -e '.[rembg]', {_REMEDY}"
        ) from None


@cache
def salience_of(model: str, process: int) -> Salience:  # noqa: ARG001
    """The loaded model; by process, as the threads of a session do not survive a fork."""
    return load_model(model)


def load_model(model: str) -> Salience:
    """The model as a function from (H, W, 3) uint8 RGB to (H, W) uint8."""
    path = find_model(model)
    runtime = _optional("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    chosen: dict[str, Any] = {"providers": ["CPUExecutionProvider"]}
    try:
        if _is_path(model):
            return _u2net(runtime.InferenceSession(str(path), options, **chosen), path)
        # rembg's classes fetch their file when they are made; this one has it.
        local = {"download_models": classmethod(lambda _, *args, **kwargs: str(path))}  # noqa: ARG005
        session = type("Local", (_rembg_class(model),), local)(model, options, **chosen)
    except InputError:
        raise
    except Exception as error:  # onnxruntime's own classes share no other base
        raise InputError(
            f"preprocess.background_model: onnxruntime cannot load {path} ({error}); copy or "
            f"fetch the file again, {_REMEDY}"
        ) from None
    return lambda image: np.asarray(session.predict(Pillow.fromarray(image))[0])


def _u2net(session: Any, path: Path) -> Salience:
    """What rembg does with a U2-Net of one's own, at the input size that the file asks for."""
    given = session.get_inputs()[0]
    shape = given.shape
    if len(session.get_inputs()) != 1 or len(shape) != 4 or shape[1] not in (3, None):
        raise InputError(
            f"preprocess.background_model: {path} must take one input (1, 3, H, W) as U2-Net "
            f"does, takes {[i.shape for i in session.get_inputs()]}; give another file, {_REMEDY}"
        )
    height, width = (n if isinstance(n, int) else _INPUT_PX for n in shape[2:])

    def salience(image: Image) -> Image:
        page = Pillow.fromarray(image)
        pixels = np.asarray(page.resize((width, height), Pillow.Resampling.LANCZOS)) / 1.0
        scaled = (pixels / max(pixels.max(), 1e-6) - _MEAN) / _STD
        batch = scaled.transpose(2, 0, 1)[None].astype(np.float32)
        try:
            found = session.run(None, {given.name: batch})[0][0, 0]
        except Exception as error:  # as above
            raise InputError(
                f"preprocess.background_model: {path} fails on a page ({error}); it must take "
                f"and give (1, 3 or 1, {height}, {width}) as U2-Net does, {_REMEDY}"
            ) from None
        low, high = found.min(), found.max()
        stretched = (found - low) / max(high - low, 1e-6) * 255
        answer = Pillow.fromarray(stretched.astype(np.uint8))
        return np.asarray(answer.resize(page.size, Pillow.Resampling.LANCZOS))

    return salience
