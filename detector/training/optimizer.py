"""Optimizer, learning-rate schedule, parameter groups and the average of the weights."""

from __future__ import annotations

import math

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.func import functional_call

_FUSED = {"cpu", "cuda"}  # the devices for which torch has both optimizers as one kernel


def parameter_groups(
    model: nn.Module,
    *,
    backbone: nn.Module,
    lr: float,
    backbone_lr_ratio: float,
    weight_decay: float,
    layer_decay: float = 1.0,
) -> list[dict]:
    """The backbone's groups, then those of the rest, decayed before not; empty ones left out.

    Biases and normalisation parameters (one dimension) are not decayed. Each group keeps
    its peak rate as `peak_lr`. With a ratio of 0 the backbone is in none. A `layer_decay`
    below 1 gives each stage of the backbone (see `stages`) groups of its own, the earliest
    first, and multiplies a stage's rate by it once for each stage that follows, as ELECTRA
    does (arXiv:2003.10555).
    """
    body = stages(backbone) if layer_decay < 1 else [list(backbone.parameters())]
    inside = {id(p) for stage in body for p in stage}
    rest = [p for p in model.parameters() if id(p) not in inside]
    rates = [lr * backbone_lr_ratio * layer_decay**i for i in reversed(range(len(body)))]
    groups = []
    for part, rate in zip([*body, rest], [*rates, lr], strict=True):
        for decayed in (True, False):
            chosen = [p for p in part if (p.ndim > 1) == decayed]
            if chosen and rate > 0:
                decay = weight_decay if decayed else 0.0
                groups.append(
                    {"params": chosen, "lr": rate, "peak_lr": rate, "weight_decay": decay}
                )
    return groups


def stages(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """The backbone's parameters by the first of its maps that needs them, finest map first.

    `backbone` makes a list of maps, finest first, of images `(1, 3, 64, 64)`. The stem thus
    counts to the first stage, and a parameter that no map needs to the last. Stages without
    parameters, such as the pooling that ends VGG, are left out.
    """
    # The graph of the maps says it for every model, whatever its modules are named.
    # Detached, since parameters that are frozen for now have a stage too.
    weights = {k: p.detach().requires_grad_() for k, p in backbone.named_parameters()}
    image = next(iter(weights.values())).new_zeros(1, 3, 64, 64)
    training = backbone.training
    backbone.eval()  # leaves running statistics and random numbers alone
    maps = functional_call(backbone, weights, (image,))
    backbone.train(training)
    stage = dict.fromkeys(weights, len(maps) - 1)
    for level, features in reversed(list(enumerate(maps[:-1]))):
        reached = torch.autograd.grad(
            features.sum(), list(weights.values()), allow_unused=True, retain_graph=True
        )
        stage |= {k: level for k, g in zip(weights, reached, strict=True) if g is not None}
    found: list[list[nn.Parameter]] = [[] for _ in maps]
    for name, parameter in backbone.named_parameters():
        found[stage[name]].append(parameter)
    return [part for part in found if part]


def freeze(backbone: nn.Module, *, frozen: bool) -> None:
    """Keep the backbone as it is, its running statistics included, or train it again."""
    backbone.requires_grad_(not frozen)
    if frozen:
        backbone.eval()


def build_optimizer(groups: list[dict], *, name: str, momentum: float) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum, for weights that have their place.

    One kernel updates many weights at once where torch has such for their device.
    """
    places = {p.device.type for group in groups for p in group["params"]}
    fused = places <= _FUSED
    if name == "adamw":
        return torch.optim.AdamW(groups, fused=fused)
    return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, fused=fused)


def make_room(optimizer: torch.optim.Optimizer) -> None:
    """Give weights that have no state in the optimizer one of zeros, which changes no step.

    Left to the first step it would take its memory where that is not looked for any more.
    """
    new = [
        p
        for group in optimizer.param_groups
        for p in group["params"]
        if p.requires_grad and p not in optimizer.state
    ]
    if not new:
        return
    optimizer.zero_grad(set_to_none=True)
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        for parameter in new:
            parameter.grad = torch.zeros_like(parameter)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        optimizer.step()
    except RuntimeError:  # half a state would be taken for a whole one
        for parameter in new:
            optimizer.state.pop(parameter, None)
        raise
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
    for parameter in new:  # an optimizer that keeps nothing gets an empty state here
        for value in optimizer.state[parameter].values():
            value.zero_()


def lr_factor(step: int, *, total_steps: int, warmup_steps: int, schedule: str) -> float:
    """The share of the peak rate at a step counted from 0: linear warm-up, then the schedule.

    A function of the step alone, so resuming needs no scheduler state. `cosine` ends at 1 %
    of the peak; `poly` is (1 - t)^0.9 as in DBNet (arXiv:1911.08947, section 4.2).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    t = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if schedule == "poly":
        return max(0.01, (1 - t) ** 0.9)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * t))


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Scale every group to `factor` of its peak; returns the rate of the last group (the head)."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return float(optimizer.param_groups[-1]["lr"])


class Average(ModelEmaV3):
    """timm's moving average of the weights and running statistics of a model.

    The tensors of both are paired at the first update, not by two state dicts at each: from
    then on they may change their values, and not be replaced by others.
    """

    _pairs: tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]] | None = None

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        """Move each float by `1 - decay` of its way to that of `model`; counters are copied."""
        if self._pairs is None:
            own, other = self.module.state_dict(), model.state_dict()
            pairs = [(value, other[key]) for key, value in own.items()]
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            self._pairs = floats, [pair for pair in pairs if not pair[0].is_floating_point()]
        averaged, current = zip(*self._pairs[0], strict=True)
        torch._foreach_lerp_(averaged, current, weight=1 - decay)
        for count, counted in self._pairs[1]:
            count.copy_(counted)
