"""How large a detector is, and how much work a page costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from detector.model.dbnet import Network, count_parameters


@dataclass(frozen=True)
class Cost:
    """Weights and multiply-accumulates of one detector, in single units.

    `rest` is neck, fusion and head together. The weights of the threshold branch are among
    those of the rest; its work, `threshold_macs`, is done in training only and is not.
    """

    backbone: str
    backbone_parameters: int
    rest_parameters: int
    backbone_macs: int
    rest_macs: int
    threshold_macs: int

    @property
    def parameters(self) -> int:
        return self.backbone_parameters + self.rest_parameters

    @property
    def macs(self) -> int:
        """Of one image at prediction."""
        return self.backbone_macs + self.rest_macs


def count_macs(module: nn.Module, images: Tensor) -> int:
    """Multiply-accumulates of one forward pass, on whichever device the module is.

    Convolutions, linear layers and the matrix products of attention count, as
    `torch.utils.flop_counter` finds them; biases, normalisation, activations and
    interpolation do not.
    """
    counter = FlopCounterMode(display=False)
    # The fused kernels of attention that some processors have are not known to the counter.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(images)
    return counter.get_total_flops() // 2  # one multiplication and one addition


def measure(make: Callable[[], Network], size: int) -> Cost:
    """The cost of the detector that `make` builds, for one image of `size` x `size` pixels.

    Nothing is allocated: it is built on torch's meta device, which has shapes only.
    """
    with torch.device("meta"):
        network = make().eval()
        images = torch.empty(1, 3, size, size)
        with torch.no_grad():
            fused = network.features(images)
    backbone, macs = count_macs(network.backbone, images), count_macs(network, images)
    weights = count_parameters(network.backbone)
    return Cost(
        backbone=network.backbone.name,
        backbone_parameters=weights,
        rest_parameters=count_parameters(network) - weights,
        backbone_macs=backbone,
        rest_macs=macs - backbone,
        threshold_macs=count_macs(network.threshold, fused),
    )


def table(costs: Sequence[Cost], size: int) -> str:
    """The costs as text, one line a detector, millions of weights and GMACs of an image."""
    width = max(len(cost.backbone) for cost in costs)
    head = f"{'backbone':>9} {'rest':>7} {'total':>7}"
    lines = [
        f"{'':{width}}  {'parameters (M)':>25}  {f'GMACs at {size} x {size}':>25}",
        f"{'backbone':{width}}  {head}  {head}",
    ]
    for c in costs:
        weights = (c.backbone_parameters, c.rest_parameters, c.parameters)
        macs = (c.backbone_macs, c.rest_macs, c.macs)
        left = " ".join(f"{v / 1e6:{n}.2f}" for v, n in zip(weights, (9, 7, 7), strict=True))
        right = " ".join(f"{v / 1e9:{n}.2f}" for v, n in zip(macs, (9, 7, 7), strict=True))
        lines.append(f"{c.backbone:{width}}  {left}  {right}")
    extra = costs[0].threshold_macs / 1e9
    lines += [
        "",
        "rest: neck, fusion and head. GMACs are those of a prediction; the threshold branch,",
        f"whose weights are counted, adds {extra:.2f} to the forward pass of a training step.",
    ]
    return "\n".join(lines)
