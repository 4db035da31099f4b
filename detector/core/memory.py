"""How the process keeps its memory."""

from __future__ import annotations

import ctypes

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
