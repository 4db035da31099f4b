"""ONNX's operators in terms of ours, each refused where ours would not do exactly the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class RefusedError(Exception):
    """Why an ONNX node cannot be taken."""


@dataclass
class Made:
    """One of our nodes: its inputs by ONNX's names, its settings, and its weights."""

    op: str
    inputs: list[str]
    settings: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """An ONNX node. Of its inputs, `constants` has the values of those that are known by name."""

    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constants: Mapping[str, Array]
    opset: int

    def tensor(self, place: int = 0) -> str:
        """The name of an input that is computed from the image."""
        if len(self.inputs) <= place or not self.inputs[place] or self.known(place) is not None:
            raise RefusedError(f"its input {place} must be computed from the image")
        return self.inputs[place]

    def known(self, place: int) -> Array | None:
        """The value of an input that is a constant; None for others and those left out."""
        name = self.inputs[place] if place < len(self.inputs) else ""
        return self.constants.get(name) if name else None

    def constant(self, place: int) -> Array:
        """The value of an input that must be a constant."""
        value = self.known(place)
        if value is None:
            raise RefusedError(f"its input {place} must be a constant")
        return value

    def optional(self, place: int) -> Array | None:
        """The value of an input that may be left out, and else must be a constant."""
        given = place < len(self.inputs) and self.inputs[place]
        return self.constant(place) if given else None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def require(self, name: str, *allowed: Any) -> None:
        """Refuse an attribute with another value than these, of which the first is the default."""
        value = self.get(name, allowed[0])
        if value not in allowed:
            raise RefusedError(f"{name} must be {' or '.join(map(str, allowed))}, got {value!r}")


def translate(call: Call) -> Made | str:
    """Our node for an ONNX node, or the name of the input that it hands on unchanged.

    Raises RefusedError with what is not known, or would not come out the same.
    """
    return TRANSLATORS[call.op](call)


def _convolution(call: Call) -> Made:
    weight = call.constant(1)
    if weight.ndim != 4:
        raise RefusedError(f"its weight must have 4 dimensions, got {weight.ndim}")
    kernel = weight.shape[2:]
    transposed = call.op == "ConvTranspose"
    strides, dilations = call.get("strides", [1, 1]), call.get("dilations", [1, 1])
    settings = {
        "strides": [int(s) for s in strides],
        "dilations": [int(d) for d in dilations],
        "groups": int(call.get("group", 1)),
    }
    if transposed:
        call.require("auto_pad", "NOTSET")
        if call.get("output_shape"):
            raise RefusedError("output_shape fixes the size; export it with pads")
        settings["output_padding"] = list(call.get("output_padding", [0, 0]))
        settings["pads"] = _even(list(call.get("pads", [0, 0, 0, 0])))
    else:
        settings["pads"] = _pads(call, kernel, strides, dilations)
    weights = {"weight": weight}
    bias = call.optional(2)
    if bias is not None:
        weights["bias"] = bias
    return Made("conv_transpose" if transposed else "conv", [call.tensor()], settings, weights)


def _pads(call: Call, kernel: Any, strides: Any, dilations: Any) -> list[int]:
    """Pixels of the border: top, left, bottom, right.

    SAME_UPPER and SAME_LOWER are those for sides that are multiples of the stride.
    """
    way = call.get("auto_pad", "NOTSET")
    if way in ("NOTSET", ""):
        return [int(n) for n in call.get("pads", [0, 0, 0, 0])]
    if way == "VALID":
        return [0, 0, 0, 0]
    totals = [
        max((k - 1) * d + 1 - s, 0) for k, s, d in zip(kernel, strides, dilations, strict=True)
    ]
    less, more = [n // 2 for n in totals], [n - n // 2 for n in totals]
    return [*less, *more] if way == "SAME_UPPER" else [*more, *less]


def _even(pads: list[int]) -> list[int]:
    if pads[:2] != pads[2:]:
        raise RefusedError(f"pads must be the same on both sides, got {pads}")
    return pads


def _batch_norm(call: Call) -> Made:
    call.require("training_mode", 0)
    call.require("spatial", 1)
    settings = {
        "epsilon": float(call.get("epsilon", 1e-5)),
        "momentum": 1.0 - float(call.get("momentum", 0.9)),
    }
    names = ("weight", "bias", "running_mean", "running_var")
    weights = {name: call.constant(place) for place, name in enumerate(names, start=1)}
    return Made("batch_norm", [call.tensor()], settings, weights)


def _binary(call: Call) -> Made:
    op = call.op.lower()
    left, right = call.known(0), call.known(1)
    if left is None and right is None:
        return Made(op, [call.tensor(0), call.tensor(1)])
    first = left is not None
    value, other = (left, call.tensor(1)) if first else (right, call.tensor(0))
    assert value is not None
    settings: dict[str, Any] = {"first": first}
    if value.size == 1:
        return Made(op, [other], settings | {"number": float(value.reshape(()))})
    if value.ndim > 4:
        raise RefusedError(f"a constant must have 4 dimensions at most, got {value.ndim}")
    settings["view"] = list(value.shape)
    vector = sum(n > 1 for n in value.shape) == 1
    return Made(op, [other], settings, {"weight": value.reshape(-1) if vector else value})


def _unary(op: str, **defaults: float) -> Callable[[Call], Made]:
    def make(call: Call) -> Made:
        settings = {name: float(call.get(name, value)) for name, value in defaults.items()}
        return Made(op, [call.tensor()], settings)

    return make


def _leaky(call: Call) -> Made:
    return Made("leaky_relu", [call.tensor()], {"negative_slope": float(call.get("alpha", 0.01))})


def _clip(call: Call) -> Made:
    settings: dict[str, Any] = {}
    for place, (name, attribute) in enumerate((("low", "min"), ("high", "max")), start=1):
        value = call.get(attribute) if call.opset < 11 else call.optional(place)
        settings[name] = None if value is None else float(np.reshape(value, ()))
    if settings == {"low": None, "high": None}:
        raise RefusedError("it has no bounds")
    return Made("clip", [call.tensor()], settings)


def _softmax(call: Call) -> Made:
    axis = int(call.get("axis", 1 if call.opset < 13 else -1))
    if call.opset < 13 and axis not in (-1, 3):
        raise RefusedError("before opset 13 it must be over the last axis; export it again")
    return Made("softmax", [call.tensor()], {"dim": axis})


def _pool(call: Call) -> Made:
    kernel = [int(n) for n in call.get("kernel_shape")]
    strides = [int(n) for n in call.get("strides", [1, 1])]
    call.require("dilations", [1, 1])
    settings: dict[str, Any] = {"kernel": kernel, "strides": strides}
    settings["pads"] = _pads(call, kernel, strides, [1, 1])
    if call.op == "MaxPool":
        call.require("storage_order", 0)
        return Made("max_pool", [call.tensor()], settings | {"ceil": bool(call.get("ceil_mode"))})
    call.require("ceil_mode", 0)
    _even(settings["pads"])
    counted = bool(call.get("count_include_pad", 0))
    return Made("average_pool", [call.tensor()], settings | {"counted": counted})


def _global_pool(call: Call) -> Made:
    return Made("mean", [call.tensor()], {"axes": [2, 3], "keep": True})


def _mean(call: Call) -> Made:
    axes = call.get("axes") if call.opset < 18 else call.optional(1)
    if axes is None:
        raise RefusedError("it must name its axes")
    settings = {"axes": [int(n) for n in axes], "keep": bool(call.get("keepdims", 1))}
    return Made("mean", [call.tensor()], settings)


def _concat(call: Call) -> Made:
    inputs = [call.tensor(place) for place in range(len(call.inputs))]
    return Made("concat", inputs, {"axis": int(call.get("axis"))})


def _resize(call: Call) -> Made:
    if call.opset < 11:
        raise RefusedError("before opset 11 its coordinates are others; export it again")
    scales = call.optional(2)
    if scales is None or scales.size != 4:
        raise RefusedError("it must have constant scales, since sizes are not free")
    factors = [float(n) for n in scales]
    if factors[:2] != [1.0, 1.0] or any(n < 1 or n != int(n) for n in factors):
        raise RefusedError(f"it must enlarge height and width by whole numbers, got {factors}")
    mode, way = call.get("mode", "nearest"), call.get("coordinate_transformation_mode")
    way = way or "half_pixel"
    settings: dict[str, Any] = {"scales": factors[2:], "corners": None}
    if mode == "nearest":
        rounded = call.get("nearest_mode", "round_prefer_floor")
        same = (way, rounded) == ("asymmetric", "floor")
        halves = ("half_pixel", "pytorch_half_pixel")
        same = same or (way in halves and rounded.startswith("round_prefer"))
        if not same:
            raise RefusedError(f"nearest with {way} and {rounded} is none that torch has")
        return Made("resize", [call.tensor()], settings | {"mode": "nearest"})
    if mode != "linear" or way not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise RefusedError(f"{mode} with {way} is none that torch has")
    settings |= {"mode": "bilinear", "corners": way == "align_corners"}
    return Made("resize", [call.tensor()], settings)


def _same(call: Call) -> str:
    return call.tensor()


def _cast(call: Call) -> str:
    call.require("to", 1)  # float32, as all that is computed here
    return call.tensor()


# By ONNX's name; Constant is read where constants are.
TRANSLATORS: Mapping[str, Callable[[Call], Made | str]] = {
    "Add": _binary,
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Div": _binary,
    "Dropout": _same,
    "Erf": _unary("erf"),
    "Exp": _unary("exp"),
    "GlobalAveragePool": _global_pool,
    "HardSigmoid": _unary("hard_sigmoid", alpha=0.2, beta=0.5),
    "HardSwish": _unary("hard_swish"),
    "Identity": _same,
    "LeakyRelu": _leaky,
    "MaxPool": _pool,
    "Mul": _binary,
    "Pow": _binary,
    "ReduceMean": _mean,
    "Relu": _unary("relu"),
    "Resize": _resize,
    "Sigmoid": _unary("sigmoid"),
    "Softmax": _softmax,
    "Sqrt": _unary("sqrt"),
    "Sub": _binary,
    "Tanh": _unary("tanh"),
}
