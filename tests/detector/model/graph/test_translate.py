"""Every operator against onnxruntime, and what is refused because torch has no such thing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_graphs import WIDTH, conv, detector_file, node, weights

from detector.core.errors import InputError
from detector.model.graph.translate import TRANSLATORS

pytest.importorskip("onnx", reason="needs the extra onnx")

C = WIDTH
NEAREST = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
SCALES = np.array([1, 1, 2, 2], np.float32)


def one(op: str, *more: str, **attributes: Any) -> list[Any]:
    """A node `y` of `x` and constants."""
    return [node(op, ["x", *more], "y", **attributes)]


def after_pool(*nodes: Any) -> list[Any]:
    """Nodes that make `y` of `p`, which has half of the side of `x`."""
    return [node("MaxPool", ["x"], "p", kernel_shape=[2, 2], strides=[2, 2]), *nodes]


def resized(mode: str, **attributes: Any) -> list[Any]:
    return after_pool(node("Resize", ["p", "", "scales"], "y", mode=mode, **attributes))


# (nodes, constants, opset) by what is looked at.
CASES: dict[str, tuple[list[Any], dict[str, np.ndarray], int]] = {
    "Add": (one("Add", "a"), {"a": weights(9, 1, C, 1, 1)}, 18),
    "Add, a constant first": ([node("Add", ["a", "x"], "y")], {"a": weights(9, C, 1, 1)}, 18),
    "Add of two": ([node("Relu", ["x"], "r"), node("Add", ["x", "r"], "y")], {}, 18),
    "Sub": (one("Sub", "a"), {"a": weights(9, 1, C, 1, 1)}, 18),
    "Sub, a number first": ([node("Sub", ["a", "x"], "y")], {"a": np.float32(1.5)}, 18),
    "Mul": (one("Mul", "a"), {"a": weights(9, 1, C, 1, 1)}, 18),
    "Div": (one("Div", "a"), {"a": np.float32(1.7)}, 18),
    "Div of two": (
        [
            node("Relu", ["x"], "r"),
            node("Add", ["r", "one"], "more"),
            node("Div", ["x", "more"], "y"),
        ],
        {"one": np.float32(1)},
        18,
    ),
    "Pow": (one("Pow", "a"), {"a": np.float32(2)}, 18),
    "Sqrt": ([node("Sigmoid", ["x"], "s1"), node("Sqrt", ["s1"], "y")], {}, 18),
    "Exp": (one("Exp"), {}, 18),
    "Erf": (one("Erf"), {}, 18),
    "Tanh": (one("Tanh"), {}, 18),
    "Sigmoid": (one("Sigmoid"), {}, 18),
    "Relu": (one("Relu"), {}, 18),
    "LeakyRelu": (one("LeakyRelu", alpha=0.2), {}, 18),
    "HardSigmoid": (one("HardSigmoid", alpha=0.3, beta=0.4), {}, 18),
    "HardSigmoid by its defaults": (one("HardSigmoid"), {}, 18),
    "HardSwish": (one("HardSwish"), {}, 18),
    "Clip": (one("Clip", "low", "high"), {"low": np.float32(0), "high": np.float32(0.5)}, 18),
    "Clip from above": (one("Clip", "", "high"), {"high": np.float32(0.1)}, 18),
    "Clip of old": (one("Clip", min=-0.1, max=0.2), {}, 10),
    "Softmax": (one("Softmax", axis=1), {}, 18),
    "Identity": (one("Identity"), {}, 18),
    "Dropout": (one("Dropout"), {}, 18),
    "Cast": (one("Cast", to=1), {}, 18),
    "BatchNormalization": (
        one("BatchNormalization", "g", "b", "m", "v", epsilon=1e-3),
        {
            "g": weights(1, C),
            "b": weights(2, C),
            "m": weights(3, C),
            "v": np.abs(weights(4, C)) + 0.1,
        },
        18,
    ),
    "Conv, with groups": (
        [conv("x", "y", "k", group=C, pads=[2, 2, 2, 2])],
        {"k": weights(8, C, 1, 5, 5)},
        18,
    ),
    "Conv with a bias, dilated": (
        [node("Conv", ["x", "k", "b"], "y", dilations=[2, 2], pads=[2, 2, 2, 2])],
        {"k": weights(8, C, C, 3, 3), "b": weights(9, C)},
        18,
    ),
    "Conv of an even kernel, SAME_UPPER": (
        [conv("x", "y", "k", auto_pad="SAME_UPPER")],
        {"k": weights(8, C, C, 2, 2)},
        18,
    ),
    "Conv of an even kernel, SAME_LOWER": (
        [conv("x", "y", "k", auto_pad="SAME_LOWER")],
        {"k": weights(8, C, C, 4, 2)},
        18,
    ),
    "Conv with a stride, SAME_UPPER": (
        [
            conv("x", "p", "k", auto_pad="SAME_UPPER", strides=[2, 2]),
            node("Resize", ["p", "", "scales"], "y", **NEAREST),
        ],
        {"k": weights(8, C, C, 3, 3), "scales": SCALES},
        18,
    ),
    "Conv whose sum has other uses": (
        [
            conv("x", "c", "k"),
            node("Add", ["c", "a"], "d"),
            node("Mul", ["c", "d"], "y"),
        ],
        {"k": weights(8, C, C, 1, 1), "a": weights(9, 1, C, 1, 1)},
        18,
    ),
    "ConvTranspose, with groups and borders": (
        after_pool(
            node(
                "ConvTranspose",
                ["p", "k", "b"],
                "y",
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                group=2,
            )
        ),
        {"k": weights(8, C, C // 2, 4, 4), "b": weights(9, C)},
        18,
    ),
    "MaxPool, SAME_UPPER": (
        one("MaxPool", kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"),
        {},
        18,
    ),
    "MaxPool with a border": (one("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {}, 18),
    "AveragePool": (
        one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        {},
        18,
    ),
    "AveragePool without its border": (
        one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        {},
        18,
    ),
    "GlobalAveragePool": (
        [node("GlobalAveragePool", ["x"], "g"), node("Mul", ["x", "g"], "y")],
        {},
        18,
    ),
    "ReduceMean": (
        [node("ReduceMean", ["x", "axes"], "g"), node("Sub", ["x", "g"], "y")],
        {"axes": np.array([2, 3])},
        18,
    ),
    "ReduceMean of old": (
        [node("ReduceMean", ["x"], "g", axes=[1], keepdims=1), node("Sub", ["x", "g"], "y")],
        {},
        13,
    ),
    "Resize, nearest": (resized("nearest", **NEAREST), {"scales": SCALES}, 18),
    "Resize, nearest by its defaults": (resized("nearest"), {"scales": SCALES}, 18),
    "Resize, linear": (resized("linear"), {"scales": SCALES}, 18),
    "Resize, linear with corners": (
        resized("linear", coordinate_transformation_mode="align_corners"),
        {"scales": SCALES},
        18,
    ),
    "Concat": (
        [
            node("Relu", ["x"], "r"),
            node("Concat", ["x", "r"], "two", axis=1),
            conv("two", "y", "k"),
        ],
        {"k": weights(8, C, 2 * C, 1, 1)},
        18,
    ),
    "Constant": (
        [node("Constant", [], "n", value_float=0.5), node("Mul", ["x", "n"], "y")],
        {},
        18,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operator_gives_what_onnxruntime_gives(case, tmp_path, read, difference):
    nodes, constants, opset = CASES[case]
    path = detector_file(tmp_path / "d.onnx", nodes, constants, output="y", opset=opset)
    assert difference(read(path), path) < 1e-5


def test_every_operator_has_a_case():
    named = {node.op_type for nodes, _, _ in CASES.values() for node in nodes}
    assert {*TRANSLATORS, "Constant"} <= named | {"ConvTranspose", "Conv"}


REFUSED: dict[str, tuple[list[Any], dict[str, np.ndarray], int, str]] = {
    "a number of bytes": (one("Cast", to=2), {}, 18, r"Cast 'y': to must be 1, got 2"),
    "sizes": (
        after_pool(node("Resize", ["p", "", "", "to"], "y")),
        {"to": np.array([1, C, 16, 24])},
        18,
        r"Resize 'y': it must have constant scales, since sizes are not free",
    ),
    "a fraction": (
        resized("nearest"),
        {"scales": np.array([1, 1, 1.5, 2], np.float32)},
        18,
        r"by whole numbers, got \[1\.0, 1\.0, 1\.5, 2\.0\]",
    ),
    "cubic": (resized("cubic"), {"scales": SCALES}, 18, "cubic with half_pixel is none"),
    "nearest, half pixels rounded down": (
        resized("nearest", nearest_mode="floor"),
        {"scales": SCALES},
        18,
        "nearest with half_pixel and floor is none that torch has",
    ),
    "the coordinates of opset 10": (
        after_pool(node("Resize", ["p", "scales"], "y", mode="nearest")),
        {"scales": SCALES},
        10,
        "before opset 11",
    ),
    "an uneven border of means": (
        one("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
        {},
        18,
        r"pads must be the same on both sides, got \[0, 0, 1, 1\]",
    ),
    "no bounds": (one("Clip"), {}, 18, "it has no bounds"),
    "flattened": (one("Softmax"), {}, 11, "before opset 13 it must be over the last axis"),
    "a kernel that is computed": (
        [node("Conv", ["x", "x"], "y")],
        {},
        18,
        "Conv 'y': its input 1 must be a constant",
    ),
    "statistics of a training": (
        one("BatchNormalization", "g", "g", "g", "g", training_mode=1),
        {"g": weights(1, C)},
        18,
        "training_mode must be 0, got 1",
    ),
    "a second output": (
        [
            *one("MaxPool", kernel_shape=[1, 1]),
            node("Add", ["y", "indices"], "z"),
            node("Relu", ["z"], "z2"),
        ],
        {},
        18,
        "its input indices is a second output, or not there",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_come_out_the_same_is_refused(case, tmp_path, read):
    nodes, constants, opset, told = REFUSED[case]
    path = detector_file(tmp_path / "d.onnx", nodes, constants, output="y", opset=opset)
    with pytest.raises(InputError, match=told):
        read(path)
