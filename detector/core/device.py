"""Which device and number format a job runs in, and how its process keeps memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import cv2
import torch
from torch import nn

from detector.core.errors import InputError

_MOST_LOADERS = 16


def choose_device(name: str) -> torch.device:
    """The torch device for `auto | cpu | cuda`; InputError when a GPU is asked for in vain."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("train.device: cuda was asked for but torch sees no GPU; use auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The autocast dtype for `auto | off | bf16 | fp16`, or None for plain float32.

    bf16 is preferred wherever it is native: it has the range of float32 and so needs no
    loss scaling. A CPU gains nothing from float16, which is refused there.
    """
    if amp == "off" or (amp == "auto" and device.type == "cpu"):
        return None
    if amp == "fp16" and device.type == "cpu":
        raise InputError("train.amp: fp16 needs a GPU; use off or bf16 on a CPU")
    if amp == "bf16" or (amp == "auto" and torch.cuda.is_bf16_supported()):
        return torch.bfloat16
    return torch.float16


def set_threads(threads: int | None) -> None:
    """Bound the CPU threads of torch and OpenCV; None leaves both as they are."""
    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)


def loader_processes(wanted: int | Literal["auto"], device: torch.device) -> int:
    """How many processes load pages for a network on `device`.

    The cores of a training are as many as torch has threads, which Ray and `set_threads` choose.
    On a CPU the network keeps them busy; beside a GPU one is for starting its work.
    """
    if wanted != "auto":
        return wanted
    return 0 if device.type == "cpu" else min(torch.get_num_threads() - 1, _MOST_LOADERS)


@contextmanager
def searched_convolutions(wanted: bool) -> Iterator[None]:
    """A block in which cuDNN times its algorithms at the first convolution of each shape.

    For inputs of one shape, where that is done once; a search for each of many would cost more
    than it gives. Outside of the block, where not `wanted`, and on a CPU nothing changes.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def suits_channels_last(network: nn.Module, device: torch.device) -> bool:
    """Whether `network` trains faster with the channels of images and weights last.

    On a GPU it does. On a CPU it does when most weights are of pointwise and depthwise
    convolutions and linear layers; for dense ones over several pixels the gradient of the weights
    is the slower, the fewer numbers the processor takes at a time.
    """
    if device.type != "cpu":
        return True
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    dense = sum(m.weight.numel() for m in layers if isinstance(m, nn.Conv2d) and _is_dense(m))
    return 2 * dense < sum(m.weight.numel() for m in layers)


def _is_dense(convolution: nn.Conv2d) -> bool:
    return convolution.groups == 1 and max(convolution.kernel_size) > 1


# Names and values of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 64 * 2**20  # bytes fetched at once


def keep_freed_memory() -> bool:
    """Keep freed memory in this process from now on; whether its C library can.

    glibc gives an array of more than 32 MiB back to the system when it is freed, and the system
    clears every page again for the next one. A training step on a CPU makes and frees the same
    gigabytes each time, and on small networks that clearing takes as long as the arithmetic.
    The process then holds its peak until it ends. False, and nothing is changed, where the C
    library is not glibc. Tensors on a GPU have an allocator of their own.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    values = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: _TOP_PAD}
    return all([mallopt(name, value) == 1 for name, value in values.items()])
