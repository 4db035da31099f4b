"""The network of a training: built new, as it starts, or as it was kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.core.files import expand_home
from detector.core.weight_files import is_finite, load_tensors, metadata_of
from detector.inference.checkpoint import find_best
from detector.model.dbnet import Network, build_model
from detector.model.graph.network import GraphNet, build_graph
from detector.model.graph.nodes import KEY, Graph, read_graph
from detector.model.graph.onnx_file import read_start
from detector.model.graph.starts import (
    NONE,
    STARTS,
    brings_network,
    named_start,
    start_of_file,
)


@dataclass(frozen=True)
class Begun:
    """What a network began with: a line, the tensors that were taken, and their licence."""

    source: str
    tensors: Mapping[str, Tensor]
    licence: str


def new_model(config: TrainConfig) -> Network:
    """The network that a config describes, with new weights; of train.init its form alone.

    InputError where the start that it names cannot be used.
    """
    init = config.train.init
    if init == NONE:
        return _described(config)
    if brings_network(init):
        return build_graph(_read(init)[0], f"train.init={init}")
    return kept_model(config, metadata_of(_weights_file(init)), f"train.init={init}")


def has_own_network(init: str) -> bool:
    """Whether a value of train.init has a network that takes the place of model.*.

    An ONNX file does, and so do weights of ours that began as one. InputError where there are none.
    """
    if init == NONE:
        return False
    return brings_network(init) or KEY in metadata_of(_weights_file(init))


def kept_model(config: TrainConfig, metadata: Mapping[str, str], place: str) -> Network:
    """The network of weights that were kept with `metadata` by a training as `config` says."""
    if KEY in metadata:
        return build_graph(read_graph(metadata[KEY], place), place)
    return _described(config)


def load_start(network: Network, init: str) -> Begun:
    """Fill a network of `new_model` with what train.init has for it; what that was.

    Raises InputError as `find_start` does.
    """
    begun = find_start(network, init)
    network.load_state_dict(dict(begun.tensors), strict=False)
    return begun


def require_start(config: TrainConfig) -> None:
    """InputError unless a training as `config` says can start, whose network is not made for it."""
    with torch.device("meta"):
        network = new_model(config)
    find_start(network, config.train.init)


def is_start(checkpoint: Path) -> bool:
    """Whether a checkpoint is the name of a whole detector, used as it was published."""
    return str(checkpoint) in STARTS and not checkpoint.exists()


def weights_of(checkpoint: Path) -> Path:
    """The file with the weights of a checkpoint; InputError where there is none."""
    if is_start(checkpoint):
        return named_start(str(checkpoint), "checkpoint")[0]
    return find_best(checkpoint)


def find_start(network: Network, init: str) -> Begun:
    """What train.init has for a network of `new_model`, which stays as it is.

    Whatever has another name or shape there stays new, and is told. InputError where that holds
    for a part of the backbone.
    """
    if brings_network(init):
        assert isinstance(network, GraphNet)
        given, origin = network.of_nodes(_read(init)[1]), f"{init}: {network.graph.source}"
    else:
        path = _weights_file(init)
        given, origin = load_tensors(path)[0], str(path)
        if isinstance(network, GraphNet):
            origin += f", which began as {network.graph.source}"
    own = network.state_dict()
    taken = {k: given[k] for k, value in own.items() if k in given and _fits(value, given[k])}
    _require_backbone(network, given, taken, init)
    licence = network.graph.licence if isinstance(network, GraphNet) else ""
    told = f"{origin}{f' ({licence})' if licence else ''}: {len(taken)} tensors are taken"
    new = Counter(key.partition(".")[0] for key in own if key not in taken)
    names = ", ".join(f"{name} ({count} tensors)" for name, count in new.items())
    return Begun(f"{told}; new: {names or 'nothing'}", taken, licence)


def origin_of(network: nn.Module) -> dict[str, str]:
    """The metadata of an exported network that was not ours at first: its name, where from."""
    if not isinstance(network, GraphNet):
        return {}
    graph = network.graph
    origin = {"source": graph.source, "licence": graph.licence}
    return {"backbone": json.dumps(graph.name), "origin": json.dumps(origin)}


def unused_settings(network: Network) -> str | None:
    """A line on the settings that say nothing of a network; None where all say something."""
    if not isinstance(network, GraphNet):
        return None
    return (
        f"train.init: the network is {network.graph.name} as it is, so of model.* only step_k is "
        "used"
    )


def _described(config: TrainConfig) -> Network:
    settings = config.model
    return build_model(
        backbone=settings.backbone,
        neck=settings.neck,
        neck_channels=settings.neck_channels,
        fusion=settings.fusion,
        upsample=settings.upsample,
        drop_path=settings.drop_path,
        norm_maps=settings.norm_maps,
    )


def _read(init: str) -> tuple[Graph, dict[str, Tensor]]:
    if init in STARTS:
        path, start = named_start(init)
        return read_start(path, start, init, STARTS[init].extra)
    path = expand_home(init)
    return read_start(path, start_of_file(path), path.stem, "onnx")


def _weights_file(init: str) -> Path:
    path = expand_home(init)
    if not path.exists():
        raise InputError(
            f"train.init: must be {NONE}, {', '.join(STARTS)}, a best/ folder, the output folder "
            f"of a training, a model.safetensors or an ONNX file, got {init!r}, which is not there"
        )
    return find_best(path, key="train.init")


def _fits(own: Tensor, given: Tensor) -> bool:
    kinds = own.is_floating_point() == given.is_floating_point()
    return own.shape == given.shape and kinds and is_finite(given)


def _require_backbone(
    network: Network, given: Mapping[str, Tensor], taken: Mapping[str, Tensor], init: str
) -> None:
    body = [key for key in network.state_dict() if key.startswith("backbone.")]
    missing = [key for key in body if key not in taken]
    if not missing:
        return
    if not any(key.startswith("backbone.") for key in given):
        raise InputError(
            f"train.init={init}: holds no detector of ours; weights of a backbone are given by "
            f"model.weights={init}"
        )
    path = _weights_file(init).with_name("config.yaml")
    raise InputError(
        f"train.init={init}: {len(missing)} of the {len(body)} tensors of the backbone "
        f"{network.backbone.name} are not there in this shape, such as {missing[0]}: it is "
        f"another one; give config={path}, or the model.backbone of it"
    )
