"""Batch norm where a batch leaves one value per channel, which has no variance."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def keep_single_values(model: nn.Module) -> None:
    """Let every batch norm of `model` take its running statistics for a single value per channel.

    As where the deepest map of one crop of 32 px is one pixel. These statistics then stay as they
    are; torch raises ValueError otherwise. With more values nothing changes.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(_before)
            module.register_forward_hook(_after, always_call=True)


def _before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    (values,) = inputs
    if module.training and values.numel() == values.shape[1]:
        module.training = False
        module.training_again = True  # type: ignore[assignment]


def _after(module: nn.Module, *_: Any) -> None:
    if module.__dict__.pop("training_again", False):
        module.training = True
