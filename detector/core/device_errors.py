"""What an error says about memory and about the device, and how a process gets clean again."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from detector.core.errors import InputError, JobError

# Texts of torch, cuBLAS and cuDNN, in small letters. Only some of them come as a class of their
# own, torch.OutOfMemoryError.
_NO_MEMORY = (
    "cuda out of memory",
    "cuda error: out of memory",
    "hip out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
)
_DEVICE = (
    "cuda error:",
    "cuda driver error:",
    "hip error:",
    "cublas_status_",
    "cudnn_status_",
)
REMEDY = "use a smaller augment.crop_px, data.longest_side_px or model.backbone, or train.amp=bf16"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or what it came from, is for want of memory: of a GPU or of the machine.

    The process can go on after it.
    """
    return any(_no_memory(cause) for cause in _chain(error))


def is_device_error(error: BaseException) -> bool:
    """Whether `error`, or what it came from, is a failure of the GPU other than missing memory.

    An illegal access or a failed assertion in a kernel spoils the process's connection to the
    device: every later call fails too, whatever it computes.
    """
    return any(_device(cause) for cause in _chain(error))


def is_compile_error(error: BaseException) -> bool:
    """Whether `error` is of torch.compile itself: no compiler, or what it cannot compile."""
    return type(error).__module__.startswith(("torch._dynamo.", "torch._inductor."))


def out_of_memory_text(error: BaseException) -> str:
    """The reason for people, with what to change; of a JobError, which has that, its own text."""
    text = " ".join(str(error).split())
    if isinstance(error, JobError):
        return text if text.startswith("out of memory") else f"out of memory: {text}"
    text = text.partition("err == 0. ")[2] or text  # the CPU's allocator begins with its own place
    first = text.split(". ")[0] or type(error).__name__
    return f"out of memory: {first}; {REMEDY}"


def uses_gpu() -> bool:
    """Whether torch has used a GPU in this process; it is never imported for the answer."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def release_memory() -> int:
    """Give what this process no longer needs back; bytes that it still holds on its GPUs.

    Collects cycles and empties torch's cache, and its peaks begin anew. Where no GPU was used it
    does nothing: what a process frees on a CPU it takes again, and collecting costs half a second.
    """
    if not uses_gpu():
        return 0
    gc.collect()
    torch, held = sys.modules["torch"], 0
    for device in range(torch.cuda.device_count()):
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        held += int(torch.cuda.memory_reserved(device))
    return held


@contextmanager
def memory_given_back() -> Iterator[None]:
    """`release_memory` after the block, however it ends.

    An exception keeps the variables of the functions that it left, and so the tensors of a
    training; they are forgotten first.
    """
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        release_memory()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, what that was raised from, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _no_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError):
        return True
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return _says(error, _NO_MEMORY)


def _device(error: BaseException) -> bool:
    if _no_memory(error):
        return False
    torch = sys.modules.get("torch")
    kind = getattr(torch, "AcceleratorError", None)
    if kind is not None and isinstance(error, kind):
        return True
    return _says(error, _DEVICE)


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    """Our own errors are left out: they may quote what happened in another process."""
    if not isinstance(error, RuntimeError) or isinstance(error, InputError | JobError):
        return False
    said = str(error).lower()
    return any(text in said for text in texts)
