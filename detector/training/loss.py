"""The DBNet training loss: balanced BCE, masked L1 and dice (arXiv:1911.08947, section 3.6).

Everything is computed in float32 from logits, whatever the precision of the network. The
step B = 1 / (1 + exp(-k (P - T))) is written as a sigmoid; the literal reciprocal overflows
in half precision and its gradient is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from detector.model.dbnet import Maps

Pool = Callable[[Tensor], Tensor]


class LossParts(NamedTuple):
    """Scalar float32 tensors: `total` is weighted, the other three are not."""

    total: Tensor
    probability: Tensor
    threshold: Tensor
    binary: Tensor


class DBLoss(nn.Module):
    """Weighted sum of the three losses, each pooled over the pixels of the batch.

    `negative_ratio`, `min_negatives`: negatives kept per image, see `balanced_bce`.
    `probability_weight`, `threshold_weight`, `binary_weight`: weights in `total`.
    `step_k`: steepness k of the differentiable step.
    """

    def __init__(
        self,
        *,
        negative_ratio: float,
        min_negatives: int,
        probability_weight: float,
        threshold_weight: float,
        binary_weight: float,
        step_k: float,
    ) -> None:
        super().__init__()
        self.negative_ratio = negative_ratio
        self.min_negatives = min_negatives
        self.probability_weight = probability_weight
        self.threshold_weight = threshold_weight
        self.binary_weight = binary_weight
        self.step_k = step_k

    def forward(
        self,
        maps: Maps,
        shrink: Tensor,
        shrink_mask: Tensor,
        threshold: Tensor,
        threshold_mask: Tensor,
        *,
        pool: Pool | None = None,
    ) -> LossParts:
        """Losses of one batch; targets and masks are `(N, 1, H, W)`, masks and shrink 0 or 1.

        Pixels with `shrink_mask` 0 (don't-care words) are absent from the balanced BCE and the
        dice loss, pixels with `threshold_mask` 0 from the L1. A page where both are 0
        everywhere gives exactly 0. `pool` adds up the sums that the losses are quotients of, where
        a batch is dealt among processes (`Peers.pool`). Raises ValueError when the threshold map
        is missing (a model in eval mode) or when a shape differs from that of the logits.
        """
        if maps.threshold is None:
            raise ValueError("the loss needs the threshold map: put the model in training mode")
        targets = (shrink, shrink_mask, threshold, threshold_mask)
        if any(t.shape != maps.probability.shape for t in targets):
            raise ValueError(
                f"targets must have the shape of the logits, {tuple(maps.probability.shape)}, "
                f"got {[tuple(t.shape) for t in targets]}"
            )
        with torch.autocast(maps.probability.device.type, enabled=False):
            logits = maps.probability.float()
            border = torch.sigmoid(maps.threshold.float())
            kernel, mask = shrink.float(), shrink_mask.float()
            step = torch.sigmoid(self.step_k * (torch.sigmoid(logits) - border))
            probability_loss = balanced_bce(
                logits,
                kernel,
                mask,
                negative_ratio=self.negative_ratio,
                min_negatives=self.min_negatives,
                pool=pool,
            )
            threshold_loss = masked_l1(border, threshold.float(), threshold_mask.float(), pool)
            binary_loss = dice(step, kernel, mask, pool)
            total = (
                self.probability_weight * probability_loss
                + self.threshold_weight * threshold_loss
                + self.binary_weight * binary_loss
            )
        return LossParts(total, probability_loss, threshold_loss, binary_loss)


def balanced_bce(
    logits: Tensor,
    target: Tensor,
    mask: Tensor,
    *,
    negative_ratio: float,
    min_negatives: int,
    pool: Pool | None = None,
) -> Tensor:
    """Mean BCE over all positive pixels and the hardest negatives of every image.

    An image keeps `min(negatives, max(floor(negative_ratio * positives), min_negatives))`
    negatives, so a page without text still teaches. Negatives that tie for the last places
    share them. 0 when nothing is selected. Arguments are float32 `(N, 1, H, W)`.
    """
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1)
    wanted = (mask > 0.5).flatten(1)
    text = (target > 0.5).flatten(1)
    positives, negatives = text & wanted, ~text & wanted
    with torch.no_grad():
        keep = (negative_ratio * positives.sum(1).double()).floor().clamp(min=min_negatives)
        keep = torch.minimum(keep.long(), negatives.sum(1))
        weights = positives.float() + hardest(losses.detach(), negatives, keep)
    # The plain product lets a NaN through wherever it is, so a broken network cannot hide.
    found, count = _sums(pool, losses * weights, weights)
    return found / count.clamp(min=1)


def hardest(losses: Tensor, candidates: Tensor, keep: Tensor) -> Tensor:
    """Weights `(N, P)` float32 that select the `keep[i]` largest candidate losses of each row.

    `losses` `(N, P)` are not negative, `candidates` `(N, P)` bool, `keep` `(N,)` int64 at most
    the number of candidates. Losses above the last kept value weigh 1; those equal to it share
    the remaining places, so a row sums to `keep[i]` and no pixel is preferred for its index.
    """
    ranked = losses.masked_fill(~candidates, -1.0)
    last = kth_largest(ranked, keep)[:, None]
    above = ranked > last
    ties = (ranked == last) & candidates
    places = (keep - above.sum(1)).clamp(min=0).float()
    share = places / ties.sum(1).clamp(min=1)
    weights = above.float() + ties.float() * share[:, None]
    return weights * (keep > 0)[:, None]


def kth_largest(values: Tensor, k: Tensor) -> Tensor:
    """The `k[i]`-th largest of row i as `(N,)`, without a sort; anything where `k[i]` is 0.

    `values` `(N, P)` float32, not negative or -1; `k` `(N,)` int64 on the same device, at most
    the number of values of the row that are not negative. Nothing waits for a GPU.
    """
    return partitioned(values, k) if values.device.type == "cpu" else bisected(values, k)


def partitioned(values: Tensor, k: Tensor) -> Tensor:
    """`kth_largest` on a CPU, by a partition of each row."""
    places = (values.shape[1] - k.clamp(min=1)).tolist()
    rows = values.numpy()
    return values.new_tensor(
        [np.partition(row, place)[place] for row, place in zip(rows, places, strict=True)]
    )


def bisected(values: Tensor, k: Tensor) -> Tensor:
    """`kth_largest` on any device, by 31 counts: bit after bit of the largest float with k above.

    Floats that are not negative are in the order of their bits read as integers, and -1 read so
    is negative.
    """
    bits = values.view(torch.int32)
    found = torch.zeros_like(k, dtype=torch.int32)
    for bit in reversed(range(31)):
        higher = found | (1 << bit)
        enough = (bits >= higher[:, None]).sum(1) >= k
        found = torch.where(enough, higher, found)
    return found.view(torch.float32)


def masked_l1(prediction: Tensor, target: Tensor, mask: Tensor, pool: Pool | None = None) -> Tensor:
    """Mean absolute difference where `mask` is 1; 0 when it is 1 nowhere."""
    difference, count = _sums(pool, (prediction - target).abs() * mask, mask)
    return difference / count.clamp(min=1)


def dice(prediction: Tensor, target: Tensor, mask: Tensor, pool: Pool | None = None) -> Tensor:
    """1 - 2 |B G| / (|B| + |G|) over the masked pixels (V-Net, arXiv:1606.04797, section 3).

    0 when the masked target has no text: the quotient would then be 0 for any prediction,
    a constant without a direction.
    """
    text, overlap, predicted = _sums(
        pool, target * mask, prediction * target * mask, prediction * mask
    )
    total = predicted + text
    return torch.where(text > 0, 1 - 2 * overlap / total.clamp(min=1), total.new_zeros(()))


def _sums(pool: Pool | None, *values: Tensor) -> tuple[Tensor, ...]:
    """The sum of each tensor, over all parts of the batch where there is a `pool`."""
    sums = [value.sum() for value in values]
    return tuple(sums) if pool is None else pool(torch.stack(sums)).unbind()
