"""Optimizer, learning-rate schedule and parameter groups."""

from __future__ import annotations

import math

import torch
from torch import nn


def parameter_groups(
    model: nn.Module,
    *,
    backbone: nn.Module,
    lr: float,
    backbone_lr_ratio: float,
    weight_decay: float,
) -> list[dict]:
    """Four groups: backbone or not, decayed or not; empty ones left out.

    Biases and normalisation parameters (one dimension) are not decayed. Each group keeps
    its peak rate as `peak_lr`. With a ratio of 0 the backbone is in none.
    """
    inside = {id(p) for p in backbone.parameters()}
    groups = []
    for in_backbone in (True, False):
        rate = lr * backbone_lr_ratio if in_backbone else lr
        for decayed in (True, False):
            chosen = [
                p
                for p in model.parameters()
                if (id(p) in inside) == in_backbone and (p.ndim > 1) == decayed
            ]
            if chosen and rate > 0:
                decay = weight_decay if decayed else 0.0
                groups.append(
                    {"params": chosen, "lr": rate, "peak_lr": rate, "weight_decay": decay}
                )
    return groups


def freeze(backbone: nn.Module, *, frozen: bool) -> None:
    """Keep the backbone as it is, its running statistics included, or train it again."""
    backbone.requires_grad_(not frozen)
    if frozen:
        backbone.eval()


def build_optimizer(groups: list[dict], *, name: str, momentum: float) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum."""
    if name == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0)


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
