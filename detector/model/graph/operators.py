"""The operations that a graph may have, each as a torch module that does exactly that."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.model.graph.nodes import Node


class Apply(nn.Module):
    """An operation without weights."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Binary(nn.Module):
    """An operation of two tensors, or of one with a number or a weight, which may stand `first`.

    A weight with one value a channel is kept as a vector, so that it is not decayed; `view` is
    the shape in which it meets the tensor.
    """

    def __init__(self, function: Callable[[Any, Any], Tensor], node: Node) -> None:
        super().__init__()
        self.function = function
        self.first = bool(node.settings.get("first", False))
        self.number = node.settings.get("number")
        self.view = tuple(node.settings.get("view", ()))
        if "weight" in node.shapes:
            self.weight = nn.Parameter(torch.ones(node.shapes["weight"]))

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) == 2:
            left, right = inputs
            return self.function(left, right)
        (one,) = inputs
        other = self.weight.view(self.view) if self.number is None else self.number
        return self.function(other, one) if self.first else self.function(one, other)


class Conv(nn.Conv2d):
    """A convolution with a border of its own on each side: top, left, bottom, right."""

    def __init__(self, node: Node) -> None:
        settings, (out, each, *kernel) = node.settings, node.shapes["weight"]
        top, left, bottom, right = settings["pads"]
        even = (top, left) == (bottom, right)
        super().__init__(
            each * settings["groups"],
            out,
            (kernel[0], kernel[1]),
            stride=tuple(settings["strides"]),
            padding=(top, left) if even else 0,
            dilation=tuple(settings["dilations"]),
            groups=settings["groups"],
            bias="bias" in node.shapes,
        )
        self.border = None if even else (left, right, top, bottom)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if self.border is None else F.pad(images, self.border))


def _conv_transpose(node: Node) -> nn.Module:
    settings, (channels, each, *kernel) = node.settings, node.shapes["weight"]
    return nn.ConvTranspose2d(
        channels,
        each * settings["groups"],
        (kernel[0], kernel[1]),
        stride=tuple(settings["strides"]),
        padding=tuple(settings["pads"][:2]),
        output_padding=tuple(settings["output_padding"]),
        groups=settings["groups"],
        bias="bias" in node.shapes,
        dilation=tuple(settings["dilations"]),
    )


def _batch_norm(node: Node) -> nn.Module:
    (channels,) = node.shapes["weight"]
    return nn.BatchNorm2d(
        channels, eps=node.settings["epsilon"], momentum=node.settings["momentum"]
    )


def _hard_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    return (x * alpha + beta).clamp(0, 1)


def _max_pool(
    x: Tensor, *, kernel: list[int], strides: list[int], pads: list[int], ceil: bool
) -> Tensor:
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return F.max_pool2d(x, kernel, strides, (top, left), ceil_mode=ceil)
    return F.max_pool2d(
        F.pad(x, (left, right, top, bottom), value=float("-inf")), kernel, strides, ceil_mode=ceil
    )


def _average_pool(
    x: Tensor, *, kernel: list[int], strides: list[int], pads: list[int], counted: bool
) -> Tensor:
    return F.avg_pool2d(x, kernel, strides, pads[:2], count_include_pad=counted)


def _resize(x: Tensor, *, mode: str, scales: list[float], corners: bool | None) -> Tensor:
    # A GPU's autocast enlarges in float32; copies of values need no more than they had.
    found = F.interpolate(x, scale_factor=tuple(scales), mode=mode, align_corners=corners)
    return found.to(x.dtype)


def _concat(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, dim=axis)


def _mean(x: Tensor, *, axes: list[int], keep: bool) -> Tensor:
    return x.mean(dim=axes, keepdim=keep)


def _clip(x: Tensor, *, low: float | None, high: float | None) -> Tensor:
    return x.clamp(low, high)


def _applied(function: Callable[..., Tensor], node: Node) -> nn.Module:
    return Apply(partial(function, **node.settings) if node.settings else function)


def _plain(function: Callable[..., Tensor]) -> Callable[[Node], nn.Module]:
    return partial(_applied, function)


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[Node], nn.Module]:
    return partial(Binary, function)


# By name, the module of a node.
OPERATORS: Mapping[str, Callable[[Node], nn.Module]] = {
    "conv": Conv,
    "conv_transpose": _conv_transpose,
    "batch_norm": _batch_norm,
    "add": _binary(operator.add),
    "sub": _binary(operator.sub),
    "mul": _binary(operator.mul),
    "div": _binary(operator.truediv),
    "pow": _binary(operator.pow),
    "relu": _plain(torch.relu),
    "sigmoid": _plain(torch.sigmoid),
    "tanh": _plain(torch.tanh),
    "erf": _plain(torch.erf),
    "sqrt": _plain(torch.sqrt),
    "exp": _plain(torch.exp),
    "softmax": _plain(torch.softmax),
    "leaky_relu": _plain(F.leaky_relu),
    "hard_swish": _plain(F.hardswish),
    "hard_sigmoid": _plain(_hard_sigmoid),
    "clip": _plain(_clip),
    "max_pool": _plain(_max_pool),
    "average_pool": _plain(_average_pool),
    "mean": _plain(_mean),
    "resize": _plain(_resize),
    "concat": _plain(_concat),
}
