"""The memory that a network takes of a GPU, counted on tensors that have shapes and no data.

No GPU is needed. The operations are those of a GPU, with the number formats that autocast gives
each of them there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = "cuda"
BLOCK_BYTES = 512  # torch gives out the memory of a GPU in multiples of this


@dataclass(frozen=True)
class Needed:
    """Bytes beside weights and inputs: what stays, the most at a time, and the largest tensor."""

    kept: int
    peak: int
    largest: int


def needed(
    network: nn.Module,
    shapes: Sequence[tuple[int, ...]],
    work: Callable[..., object],
    *,
    channels_last: bool = True,
) -> Needed:
    """What `work(network, *inputs)` takes of a GPU, for float32 inputs `(N, C, H, W)`.

    What it returns, and for tensors with a gradient all that a backward pass will look at, is
    `kept`. `network` was made on torch's meta device and loses its weights. Raises RuntimeError
    and the like for operations that depend on data.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    with FakeTensorMode(allow_non_fake_inputs=True), _Counter() as counter:
        _place(network)
        inputs = [torch.empty(shape, device=GPU).to(memory_format=layout) for shape in shapes]
        before = counter.begin()
        result = work(network, *inputs)
        found = Needed(counter.now - before, counter.peak - before, counter.largest)
        del result
    return found


@contextmanager
def autocast(dtype: torch.dtype | None) -> Iterator[None]:
    """`torch.autocast` of a GPU, which without one would be switched off; None changes nothing."""
    if dtype is None:
        yield
        return
    enabled, usual = torch.is_autocast_enabled(GPU), torch.get_autocast_dtype(GPU)
    torch.set_autocast_enabled(GPU, True)
    torch.set_autocast_dtype(GPU, dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(GPU, enabled)
        torch.set_autocast_dtype(GPU, usual)


def _place(network: nn.Module) -> None:
    """Give `network` weights and buffers without data on a GPU."""
    for module in network.modules():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for own in tables:
            for name, tensor in own.items():
                if tensor is None:
                    continue
                blank = torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)
                if isinstance(tensor, nn.Parameter):
                    blank = nn.Parameter(blank, tensor.requires_grad)
                own[name] = blank


class _Counter(TorchDispatchMode):
    """Bytes of the tensors that operations make on a GPU: those there are `now`, and the most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.largest = 0
        self._alive: dict[int, int] = {}

    def begin(self) -> int:
        """Bytes there are; the peak and the largest tensor are counted anew from here."""
        self.peak, self.largest = self.now, 0
        return self.now

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and tensor.device.type == GPU:
                self._add(tensor.untyped_storage())
        return found

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive:  # a view, or changed in place
            return
        size = -(-storage.nbytes() // BLOCK_BYTES) * BLOCK_BYTES
        self._alive[key] = size
        self.now += size
        self.peak, self.largest = max(self.peak, self.now), max(self.largest, size)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.now -= self._alive.pop(key)
