"""The network of a training by several processes: torch shares its gradients and statistics."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detector.core.errors import InputError

_PLANE = (0, 2, 3)  # what a channel's statistics are taken over


class SharedNetwork:
    """A model whose gradients become means over the processes, for the weights trained now.

    `present` is False while this process has no crop of its own and works on a blank one to
    keep step: batch statistics leave it out.
    """

    def __init__(self) -> None:
        self.present = True
        self._trained: tuple[object, ...] = ()
        self._pixels = 0
        self._unused = False
        self._wrapped: DistributedDataParallel | None = None

    def has_room(self, model: nn.Module, pixels: int) -> bool:
        """Whether a part of a batch with so many pixels has been rehearsed with these weights."""
        return self._trained == _trained(model) and pixels <= self._pixels

    def rehearsed(self, model: nn.Module, pixels: int) -> None:
        """Remember a backward pass through `model` alone, whose gradients are still there."""
        if self._trained != _trained(model):
            self._wrapped = None
            self._trained = _trained(model)
            self._unused = any(p.requires_grad and p.grad is None for p in model.parameters())
        self._pixels = pixels

    def wrapped(self, model: nn.Module) -> DistributedDataParallel:
        """`model`, rehearsed before, with the leading process's weights when it is new."""
        if self._wrapped is None:
            self._wrapped = DistributedDataParallel(
                model,
                forward_sync_buffers=False,  # statistics are the same in all processes already
                gradient_as_bucket_view=True,
                find_unused_parameters=self._unused,
            )
        return self._wrapped

    def accumulating(self) -> AbstractContextManager[None]:
        """A block whose backward pass leaves the exchange of gradients to a later one."""
        assert self._wrapped is not None
        return self._wrapped.no_sync()


def _trained(model: nn.Module) -> tuple[object, ...]:
    return (model, *(p.requires_grad for p in model.parameters()))


def share_statistics(model: nn.Module, network: SharedNetwork) -> None:
    """Make every batch norm in `model` torch's SyncBatchNorm, and on a CPU one that is like it.

    Names, parameters and statistics stay. Raises InputError for a kind of batch norm that
    cannot be shared.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        if type(module) not in _ON_CPU or module.momentum is None or not module.affine:
            raise InputError(
                "train.processes: several processes cannot share the statistics of "
                f"{name} ({type(module).__name__}); use 1 or another model.backbone"
            )
        if module.weight.device.type == "cpu":
            module.__class__ = _ON_CPU[type(module)]
    if next(model.parameters()).device.type != "cpu":
        convert_sync_batchnorm(model)

    def own(norm: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        # In float32, since torch's exchange of an empty batch keeps the type of its input.
        return None if network.present or not norm.training else (inputs[0][:0].float(),)

    def filled(norm: nn.Module, _: Any, output: Tensor) -> Tensor | None:
        if network.present or not norm.training:
            return None
        return torch.cat([output, output.new_zeros(1, *output.shape[1:])])

    for norm in synchronous(model):
        norm.register_forward_pre_hook(own)
        norm.register_forward_hook(filled)


def synchronous(model: nn.Module) -> list[nn.Module]:
    """The batch norms that look at the crops of all processes."""
    kinds = (nn.SyncBatchNorm, *_ON_CPU.values())
    return [module for module in model.modules() if isinstance(module, kinds)]


class _CpuNorm(nn.BatchNorm2d):
    """What torch's SyncBatchNorm is on GPUs: it refuses the tensors of a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        return _normalized(self, input) if self.training else super().forward(input)


class _CpuNormAct(BatchNormAct2d):
    """The same with timm's dropout and activation behind it."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        activated: Tensor = self.act(self.drop(_normalized(self, x)))
        return activated


_ON_CPU = {nn.BatchNorm2d: _CpuNorm, BatchNormAct2d: _CpuNormAct}


def _normalized(norm: Any, images: Tensor) -> Tensor:
    """`(N, C, H, W)` by the statistics of all processes; autograd finds the gradient."""
    mean, variance, count = _moments(images)
    if norm.track_running_stats:
        unbiased = variance.detach() * (count / (count - 1).clamp(min=1))
        norm.running_mean.lerp_(mean.detach().float(), norm.momentum)
        norm.running_var.lerp_(unbiased.float(), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    scale = norm.weight * (variance + norm.eps).rsqrt().float()
    shift = norm.bias - mean.float() * scale
    normal = torch.addcmul(shift[:, None, None], images, scale[:, None, None])
    return normal.to(images.dtype)


def _moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`(C,)` float64 mean and biased variance of all processes' `(N, C, H, W)`, their pixels.

    In float64 the difference of large sums keeps the variance of a channel far from 0.
    """
    count = images.numel() // images.shape[1]
    if count:
        variance, mean = torch.var_mean(images.float(), _PLANE, correction=0)
    else:
        variance = mean = images.sum(_PLANE)  # 0, and yet the way back to the other processes
    mean, variance = mean.double(), variance.double()
    sums = count * torch.stack([torch.ones_like(mean), mean, variance + mean.square()])
    pixels, first, second = _Total.apply(sums)
    mean = first / pixels
    return mean, second / pixels - mean.square(), pixels.detach()


class _Total(torch.autograd.Function):
    """Sum over the processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_ctx: Any, sums: Tensor) -> Tensor:
        total = sums.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
