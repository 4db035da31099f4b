"""Batch norm where a batch has no variance, and where one is looked at twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def keep_single_values(model: nn.Module) -> None:
    """Let every batch norm of `model` take its running statistics for a single value per channel.

    As where the deepest map of one crop of 32 px is one pixel. These statistics then stay as they
    are; torch raises ValueError otherwise. With more values nothing changes.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
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


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """A block in which no batch norm of `model` moves its running statistics or counts a batch.

    For a backward pass that computes activations again: they were counted in the forward pass.
    Normalisation is by the batch, as before. The statistics themselves stay in place, since
    torch wants the second pass to save as many tensors as the first.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
