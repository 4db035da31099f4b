"""Small detectors in ONNX files, made by hand: a stem, nodes to look at, and a head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 8  # channels of `x`, at a quarter of the side


def weights(seed: int, *shape: int) -> np.ndarray:
    """Small random numbers."""
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    """An ONNX node of one output."""
    import onnx

    return onnx.helper.make_node(op, list(inputs), [output], name=output, **attributes)


def conv(source: str, output: str, weight: str, **attributes: Any) -> Any:
    return node("Conv", [source, weight], output, **attributes)


def detector_file(
    path: Path,
    nodes: Sequence[Any] = (),
    constants: dict[str, np.ndarray] | None = None,
    *,
    output: str = "x",
    channels: int = WIDTH,
    opset: int = 18,
    sizes: Sequence[Any] = ("n", 3, "h", "w"),
    last: str = "Sigmoid",
    skip: bool = False,
) -> Path:
    """Write a detector to `path` whose `nodes` make `output` of `x`, and return the path.

    `x` has WIDTH channels at stride 4, made by two convolutions; `output` has `channels` there,
    which a convolution and two transposed ones make logits of. With `skip` the map between these
    two is added to that of the stem.
    """
    import onnx

    helper = onnx.helper
    values = {
        "stem": weights(1, 4, 3, 3, 3),
        "down": weights(2, WIDTH, 4, 3, 3),
        "head": weights(3, 4, channels, 3, 3),
        "head_bias": weights(6, 1, 4, 1, 1),
        "up": weights(4, 4, 4, 2, 2),
        "finish": weights(5, 4, 1, 2, 2),
        "finish_bias": weights(7, 1, 1, 1, 1),
        **(constants or {}),
    }
    around = {"pads": [1, 1, 1, 1]}
    chain = [
        conv("image", "s", "stem", strides=[2, 2], **around),
        node("Relu", ["s"], "s_relu"),
        conv("s_relu", "x", "down", strides=[2, 2], **around),
        *nodes,
        conv(output, "h_conv", "head", **around),
        node("Add", ["h_conv", "head_bias"], "h"),
        node("Relu", ["h"], "h_relu"),
        node("ConvTranspose", ["h_relu", "up"], "u", strides=[2, 2]),
        *([node("Add", ["u", "s_relu"], "sum")] if skip else []),
        node("ConvTranspose", ["sum" if skip else "u", "finish"], "f_conv", strides=[2, 2]),
        node("Add", ["f_conv", "finish_bias"], "logits"),
        node(last, ["logits"], "map"),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        chain,
        "detector",
        [helper.make_tensor_value_info("image", kind, list(sizes))],
        [helper.make_tensor_value_info("map", kind, ["n", 1, "h", "w"])],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path
