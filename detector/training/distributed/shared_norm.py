"""Batch norm whose statistics are those of a batch dealt among several processes.

The same arithmetic on CPUs and GPUs; `torch.nn.SyncBatchNorm` knows GPUs alone, and neither a
process without crops nor the layers of timm with an activation inside.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from detector.core.errors import InputError
from detector.training.distributed.peers import Peers


class SharedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that looks at the crops of all `peers` while it is trained."""

    peers: Peers

    def forward(self, input: Tensor) -> Tensor:
        return _normalized(self, input) if self.training else super().forward(input)


class SharedBatchNormAct2d(BatchNormAct2d):
    """The same with timm's dropout and activation behind it."""

    peers: Peers

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        activated: Tensor = self.act(self.drop(_normalized(self, x)))
        return activated


_SHARED = {
    nn.BatchNorm2d: SharedBatchNorm2d,
    BatchNormAct2d: SharedBatchNormAct2d,
}


def share_statistics(model: nn.Module, peers: Peers) -> None:
    """Make every batch norm of `model` a shared one; nothing for a process on its own.

    Layers change their class in place, so names, parameters and hooks stay. Raises InputError
    for a kind of batch norm that cannot be shared.
    """
    if peers.world == 1:
        return
    for name, module in model.named_modules():
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        if type(module) not in _SHARED or module.momentum is None or not module.affine:
            raise InputError(
                f"train.processes: {peers.world} processes cannot share the statistics of "
                f"{name} ({type(module).__name__}); use 1 or another model.backbone"
            )
        module.__class__ = _SHARED[type(module)]
        vars(module)["peers"] = peers


def _normalized(norm: Any, images: Tensor) -> Tensor:
    """`(N, C, H, W)` normalised; the running statistics move as with one process."""
    mean, variance, count = _statistics(images, norm.peers)
    if norm.track_running_stats:
        unbiased = variance * (count / (count - 1).clamp(min=1))
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(unbiased, norm.momentum)
        norm.num_batches_tracked.add_(1)
    normalized: Tensor = _Normalize.apply(
        images, norm.weight, norm.bias, mean, variance, count, norm.eps, norm.peers
    )
    return normalized


def _statistics(images: Tensor, peers: Peers) -> tuple[Tensor, Tensor, Tensor]:
    """`(C,)` mean and biased variance over the crops of all processes, and their pixels.

    Means and squares around them are merged (Chan, Golub and LeVeque 1983), since a
    difference of large sums would lose the variance of a channel far from 0.
    """
    values = images.detach().float()
    variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
    count = mean.new_tensor(images.numel() // images.shape[1] if peers.present else 0)
    found = peers.stacked(torch.cat([mean, variance, count[None]]))
    means, variances = found[:, : len(mean)], found[:, len(mean) : -1]
    shares = found[:, -1:] / found[:, -1].sum()
    merged = (shares * means).sum(0)
    spread = (shares * (variances + (means - merged).square())).sum(0)
    return merged, spread, found[:, -1].sum()


class _Normalize(torch.autograd.Function):
    """Batch normalisation by given statistics that are functions of all processes' crops.

    The gradient is that of arXiv:1502.03167, section 3, with its two sums over the batch taken
    over the processes.
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
        peers: Peers,
    ) -> Tensor:
        ctx.save_for_backward(images, weight, mean, (variance + eps).rsqrt(), count)
        ctx.peers, ctx.present = peers, peers.present
        return F.batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, mean, scale, count = ctx.saved_tensors
        column = (slice(None), None, None)
        normal = (images.float() - mean[column]) * scale[column]
        gradient = gradient.float()
        shift = gradient.sum((0, 2, 3))
        slope = (gradient * normal).sum((0, 2, 3))
        shift_mean, slope_mean = ctx.peers.total(torch.stack([shift, slope])) / count
        inner = gradient - shift_mean[column] - normal * slope_mean[column]
        inner *= (weight * scale)[column] if ctx.present else 0.0
        return inner.to(images.dtype), slope, shift, None, None, None, None, None
