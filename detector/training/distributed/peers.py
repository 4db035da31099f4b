"""What the processes of one training tell each other while they share its batches.

torch's DistributedDataParallel averages gradients over processes that hold equally many crops
and keep their losses and batch statistics to themselves. Here the sums behind each loss and
each batch norm run over the crops of all processes, so that a step is that of one process with
the whole batch, however unevenly its crops are dealt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


class PeerLostError(RuntimeError):
    """Another process of the training does not answer any more."""


class PeerOutOfMemoryError(torch.OutOfMemoryError):
    """Another process of the training has no memory for its part of a batch."""


class Peers:
    """Process `rank` of the `world` that share a training; all of them make the same calls.

    Every call but `out_of_memory` raises PeerLostError when a process has gone, and those on
    tensors raise PeerOutOfMemoryError when one called `out_of_memory` instead. For a process
    on its own the calls give back what they are given.

    `present` is False while this process has no crop of its own and works on a blank one to
    keep step: batch statistics leave it out.
    """

    def __init__(self, rank: int = 0, world: int = 1, tensors: Any = None):
        self.rank = rank
        self.world = world
        self.present = True
        self._tensors = tensors  # the group of the GPUs; None is the default one, of the CPUs

    @property
    def leads(self) -> bool:
        """Whether this is the process that keeps files and talks to the user."""
        return self.rank == 0

    def total(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, detached, the same bits in each of them."""
        if self.world == 1:
            return tensor.detach()
        self._in_step()
        summed = tensor.detach().clone()
        _answered(lambda: dist.all_reduce(summed, group=self._tensors))
        return summed

    def pool(self, sums: Tensor) -> Tensor:
        """Sum over the processes, whose gradient in each is that of its own share."""
        if self.world == 1:
            return sums
        pooled: Tensor = _Pool.apply(sums, self)
        return pooled

    def stacked(self, tensor: Tensor) -> Tensor:
        """`(world, ...)`: the tensor of every process, detached, in the order of ranks."""
        if self.world == 1:
            return tensor.detach()[None]
        self._in_step()
        own = tensor.detach().contiguous()
        found = [torch.empty_like(own) for _ in range(self.world)]
        _answered(lambda: dist.all_gather(found, own, group=self._tensors))
        return torch.stack(found)

    def counts(self, count: int) -> list[int]:
        """The number given by every process, in the order of ranks."""
        if self.world == 1:
            return [count]
        self._in_step()
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        _answered(lambda: dist.all_gather(found, torch.tensor([count])))
        return [int(value) for value in found]

    def gathered(self, value: T) -> list[T]:
        """What every process gave, in the order of ranks; empty in all but the leading one."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        into = found if self.leads else None
        _answered(lambda: dist.gather_object(value, into))
        return found if self.leads else []

    def told(self, value: T) -> T:
        """What the leading process gave."""
        if self.world == 1:
            return value
        box: list[Any] = [value]
        _answered(lambda: dist.broadcast_object_list(box))
        found: T = box[0]
        return found

    def same_weights(self, model: nn.Module) -> None:
        """Copy weights and statistics from the leading process into the others."""
        if self.world > 1:
            for tensor in model.state_dict().values():
                self._broadcast(tensor)

    def add_gradients(self, model: nn.Module) -> None:
        """Replace the gradients by their sums over the processes, in one exchange."""
        if self.world == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        summed = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(
            gradients, summed.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view(gradient.shape))

    def out_of_memory(self) -> None:
        """Tell the others, who learn it in their next call, that this process must stop here."""
        if self.world > 1:
            self._raised(1)

    def _broadcast(self, tensor: Tensor) -> None:
        place = tensor.contiguous()
        _answered(lambda: dist.broadcast(place, 0, group=self._tensors))
        tensor.copy_(place)

    def _in_step(self) -> None:
        """Raise where a process has left its step: an exchange would wait for it for ever."""
        if self._raised(0):
            raise PeerOutOfMemoryError("another process has no memory for its part of a batch")

    def _raised(self, flag: int) -> bool:
        found = torch.tensor([flag])
        _answered(lambda: dist.all_reduce(found, dist.ReduceOp.MAX))
        return bool(found)


ALONE = Peers()


class _Pool(torch.autograd.Function):
    """The gradient is not summed: each process has a part, and `add_gradients` adds them up."""

    @staticmethod
    def forward(_ctx: Any, sums: Tensor, peers: Peers) -> Tensor:
        return peers.total(sums)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _answered(call: Callable[[], Any]) -> None:
    try:
        call()
    except RuntimeError as error:
        raise PeerLostError(str(error).splitlines()[0]) from error
