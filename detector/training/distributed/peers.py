"""What the processes of one training tell each other, beside what torch exchanges by itself.

DistributedDataParallel and SyncBatchNorm see to gradients and batch statistics (see
`detector.training.distributed.network`). Here are the sums behind losses, the pages' scores and
what the leading process decides.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from detector.training.distributed.network import SharedNetwork

T = TypeVar("T")


class Peers:
    """Process `rank` of the `world` that share a training; all of them make the same calls.

    Every call raises torch's own error when another process has gone. For a process on its own
    the calls give back what they are given.

    `network` holds the model as the processes share it.
    """

    def __init__(self, rank: int = 0, world: int = 1):
        self.rank = rank
        self.world = world
        self.network = SharedNetwork()

    @property
    def leads(self) -> bool:
        """Whether this is the process that keeps files and talks to the user."""
        return self.rank == 0

    def pool(self, sums: Tensor) -> Tensor:
        """Sum over the processes, whose gradient in each is that of its own share."""
        if self.world == 1:
            return sums
        own = sums.detach()
        total = own.clone()
        dist.all_reduce(total)
        return sums + (total - own)

    def shapes(self, images: Tensor) -> list[tuple[int, int, int]]:
        """Crops, height and width of every process's `(N, C, H, W)`, in the order of ranks."""
        own = (len(images), *images.shape[2:])
        if self.world == 1:
            return [own]
        found = [torch.zeros(3, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(found, torch.tensor(own))
        return [(int(count), int(height), int(width)) for count, height, width in found]

    def any(self, flag: bool) -> bool:
        """Whether one process or more says so."""
        if self.world == 1:
            return flag
        found = torch.tensor([int(flag)])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)

    def gathered(self, value: T) -> list[T]:
        """What every process gave, in the order of ranks; empty in all but the leading one."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.gather_object(value, found if self.leads else None)
        return found if self.leads else []

    def told(self, value: T) -> T:
        """What the leading process gave."""
        if self.world == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box)
        found: T = box[0]
        return found

    def same_weights(self, model: nn.Module) -> None:
        """Copy weights and statistics from the leading process into the others."""
        if self.world > 1:
            for tensor in model.state_dict().values():
                place = tensor.contiguous()
                dist.broadcast(place, 0)
                tensor.copy_(place)


ALONE = Peers()
