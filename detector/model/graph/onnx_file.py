"""A detector in an ONNX file as a graph of ours, with its weights."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detector.core.errors import InputError
from detector.core.escape import some
from detector.model.graph.network import shapes_of, stride_of
from detector.model.graph.nodes import IMAGE, Graph, Node, checked_graph, passing
from detector.model.graph.starts import Start
from detector.model.graph.translate import TRANSLATORS, Array, Call, Made, RefusedError, translate

_OWN = "preprocess"  # in the metadata of what detector.export wrote
Weights = dict[str, Tensor]


def read_start(path: Path, start: Start, name: str, extra: str) -> tuple[Graph, Weights]:
    """The detector of an ONNX file, called `name`; its weights by node and name.

    `extra` is the one of ours that installs what reads it. Raises InputError where the file is
    none that can be read, or no detector with one probability map whose operators are known.
    """
    if not path.is_file():
        raise InputError(f"train.init: no file at {path}; give none, a name or an existing file")
    about = path.stat()
    return _read(path, start, name, extra, (about.st_mtime_ns, about.st_size))


@lru_cache(maxsize=2)  # a training asks for the network, then for its weights
def _read(
    path: Path, start: Start, name: str, extra: str, _stamp: tuple[int, int]
) -> tuple[Graph, Weights]:
    model, onnx = _load(path, extra)
    place = f"train.init: {path}"
    if any(entry.key == _OWN for entry in model.metadata_props):
        raise InputError(
            f"{place}: was written by detector.export; give the best/ folder that it was made of"
        )
    image = _image(model, place)
    made, ends = _translated(model, onnx, image, place)
    nodes, weights = _numbered(made, _logits(model, made, ends, place), image)
    nodes, weights = _with_biases(nodes, weights)
    if start.bgr:
        _swap_colours(nodes, weights, place)
    shapes = shapes_of(nodes, place)
    features = _features(nodes, shapes, place)
    fields = {
        "name": name,
        **asdict(start),
        "nodes": [node.model_dump() for node in nodes],
        "features": features,
        "levels": tuple(_levels(nodes, shapes, features)),
    }
    del fields["bgr"]  # which is done
    graph = checked_graph(fields, place)
    return graph, _tensors(nodes, weights, place)


def _tensors(nodes: Sequence[Node], weights: dict[str, Array], place: str) -> Weights:
    """The weights, with the counters of batches that torch has and ONNX has not."""
    tensors = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in weights.items()}
    broken = [key for key, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise InputError(f"{place}: has weights that are not finite: {some(broken, 8)}")
    none = torch.tensor(0, device="cpu")  # a file is read for networks on the meta device too
    norms = [index for index, node in enumerate(nodes) if node.op == "batch_norm"]
    return tensors | {f"{index}.num_batches_tracked": none for index in norms}


def _load(path: Path, extra: str) -> tuple[Any, Any]:
    try:
        onnx = importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(
            f"train.init: {path.name} is read by the package onnx, which cannot be imported "
            f"({error}); pip install -e '.[{extra}]'"
        ) from None
    try:
        return onnx.load(path), onnx
    except Exception as error:  # protobuf's own classes share no other base
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"train.init: {path}: not a readable ONNX file ({reason})") from None


def _image(model: Any, place: str) -> str:
    """The name of the one input, whose size must be free."""
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initial]
    outputs = [value.name for value in model.graph.output]
    if len(inputs) != 1 or len(outputs) != 1:
        names = ", ".join([*(value.name for value in inputs), "->", *outputs])
        raise InputError(f"{place}: must have one input and one output, a map, got {names}")
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]  # 0 for a free one
    if len(sizes) not in (0, 4) or (sizes and (any(sizes[2:]) or sizes[1] not in (0, 3))):
        raise InputError(
            f"{place}: must take images (N, 3, height, width) of any height and width, got "
            f"{sizes}, where 0 is free; export it with free sizes"
        )
    return str(inputs[0].name)


def _translated(
    model: Any, onnx: Any, image: str, place: str
) -> tuple[dict[str, Made], dict[str, str]]:
    """Our nodes by the name of their output, in order, and which name stands for which."""
    unknown = {
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for node in model.graph.node
    } - {*TRANSLATORS, "Constant"}
    if unknown:
        raise InputError(f"{place}: has operators that are not known: {', '.join(sorted(unknown))}")
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    made: dict[str, Made] = {}
    same: dict[str, str] = {}
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        output = node.output[0]
        inputs = tuple(same.get(name, name) for name in node.input)
        try:
            if node.op_type == "Constant":
                constants[output] = _constant(attributes, onnx)
                continue
            call = Call(node.op_type, inputs, attributes, constants, opset)
            if node.op_type == "Identity" and call.known(0) is not None:
                constants[output] = call.constant(0)
                continue
            lost = [n for n in inputs if n and n != image and n not in made and n not in constants]
            if lost:
                raise RefusedError(f"its input {lost[0]} is a second output, or not there")
            found = translate(call)
        except (RefusedError, TypeError, ValueError) as error:
            raise InputError(f"{place}: {node.op_type} {output!r}: {error}") from None
        if isinstance(found, str):
            same[output] = found
        else:
            made[output] = found
    return made, same


def _constant(attributes: dict[str, Any], onnx: Any) -> Array:
    ((kind, value),) = attributes.items()
    if kind == "value":
        array: Array = onnx.numpy_helper.to_array(value)
        return array
    if kind.startswith("value_") and "string" not in kind:
        return np.array(value)
    raise RefusedError(f"{kind} is not known")


def _logits(model: Any, made: dict[str, Made], same: dict[str, str], place: str) -> str:
    """The name of what the last sigmoid makes a probability of."""
    output = model.graph.output[0].name
    last = made.get(same.get(output, output))
    if last is None or last.op != "sigmoid":
        what = "nothing" if last is None else last.op
        raise InputError(f"{place}: its output must be a probability by a Sigmoid, got {what}")
    return last.inputs[0]


def _numbered(
    made: dict[str, Made], logits: str, image: str
) -> tuple[list[Node], dict[str, Array]]:
    """The nodes that the logits depend on, in order, and the weights by number and name."""
    needed, open_ = set(), [logits]
    while open_:
        name = open_.pop()
        if name not in needed and name != image:
            needed.add(name)
            open_ += made[name].inputs
    numbers = {image: IMAGE}
    nodes: list[Node] = []
    weights: dict[str, Array] = {}
    for name, one in made.items():
        if name in needed:
            index = numbers[name] = len(nodes)
            nodes.append(_node(one.op, [numbers[n] for n in one.inputs], one.settings, one.weights))
            weights |= {f"{index}.{key}": value for key, value in one.weights.items()}
    return nodes, weights


def _node(
    op: str, inputs: Sequence[int], settings: dict[str, Any], weights: dict[str, Array]
) -> Node:
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    # Not checked yet, since that is done where the whole graph is.
    return Node.model_construct(op=op, inputs=tuple(inputs), settings=settings, shapes=shapes)


def _with_biases(
    nodes: list[Node], weights: dict[str, Array]
) -> tuple[list[Node], dict[str, Array]]:
    """What is added to a convolution without a bias, one number a channel, as its bias."""
    uses = Counter(source for node in nodes for source in node.inputs)
    kept: list[Node] = []
    held: list[dict[str, Array]] = []
    numbers = {IMAGE: IMAGE}
    for index, node in enumerate(nodes):
        own = {key: weights[f"{index}.{key}"] for key in node.shapes}
        before = numbers[node.inputs[0]]
        if before != IMAGE and uses[node.inputs[0]] == 1:
            bias = _bias(node, own, kept[before])
            if bias is not None:
                held[before] = held[before] | {"bias": bias}
                old = kept[before]
                kept[before] = _node(old.op, old.inputs, old.settings, held[before])
                numbers[index] = before
                continue
        numbers[index] = len(kept)
        kept.append(_node(node.op, [numbers[n] for n in node.inputs], node.settings, own))
        held.append(own)
    return kept, {f"{i}.{key}": value for i, one in enumerate(held) for key, value in one.items()}


def _bias(node: Node, own: dict[str, Array], before: Node) -> Array | None:
    """What `node` adds to each channel of a convolution `before` it; None where it does not."""
    if node.op != "add" or len(node.inputs) != 1 or "bias" in before.shapes:
        return None
    if before.op == "conv":
        channels = before.shapes["weight"][0]
    elif before.op == "conv_transpose":
        channels = before.shapes["weight"][1] * before.settings["groups"]
    else:
        return None
    number = node.settings.get("number")
    if number is not None:
        return np.full(channels, number, np.float32) if channels == 1 else None
    view = list(node.settings["view"])
    same = [1] * (4 - len(view)) + view == [1, channels, 1, 1]
    return own["weight"] if same else None


def _swap_colours(nodes: list[Node], weights: dict[str, Array], place: str) -> None:
    """Let the first convolutions take red first, which took blue first."""
    for index, node in enumerate(nodes):
        if IMAGE in node.inputs:
            if node.op != "conv" or node.settings["groups"] != 1:
                raise InputError(f"{place}: its colours cannot be swapped: {node.op} takes them")
            weights[f"{index}.weight"] = weights[f"{index}.weight"][:, ::-1]


def _features(nodes: list[Node], shapes: list[tuple[int, ...]], place: str) -> int:
    """The first node at a quarter of the side that all passes and that nothing coarser follows.

    Values of a whole map, as squeezing makes them, are not taken for coarse maps.
    """
    coarse = [
        index
        for index, shape in enumerate(shapes)
        if len(shape) == 4 and stride_of(shape) not in (1, 2, 4) and shape[2:] != (1, 1)
    ]
    for index in range(max(coarse, default=-1) + 1, len(nodes) - 1):
        if len(shapes[index]) == 4 and stride_of(shapes[index]) == 4 and not passing(nodes, index):
            return index
    raise InputError(
        f"{place}: no single map at a quarter of the side is found that its last layers enlarge, "
        "which the threshold branch of a training must read"
    )


def _levels(nodes: list[Node], shapes: list[tuple[int, ...]], features: int) -> list[int]:
    """The last node at strides 4, 8 and 16 from which a coarser map is made, before enlarging."""
    larger: set[int] = set()
    strides: list[int | None] = []
    for index, node in enumerate(nodes[:features]):
        if node.op in ("resize", "conv_transpose") or larger.intersection(node.inputs):
            larger.add(index)
        plain = index not in larger and len(shapes[index]) == 4
        strides.append(stride_of(shapes[index]) if plain else None)
    found = []
    for stride in (4, 8, 16):
        coarser = [i for i, s in enumerate(strides) if s == 2 * stride]
        before = {n for i in coarser for n in nodes[i].inputs if n >= 0 and strides[n] == stride}
        found += [max(before)] if before else []
    return found
