from __future__ import annotations

import subprocess
import sys
import weakref

import pytest
import torch

from detector.config.cli import guarded
from detector.core.device_errors import (
    REMEDY,
    is_device_error,
    is_out_of_memory,
    memory_given_back,
    out_of_memory_text,
    release_memory,
)
from detector.core.errors import InputError, JobError

# As torch writes them.
NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    MemoryError(),
    MemoryError("Unable to allocate 29.1 TiB for an array with shape (2000000, 2000000)"),
)
SPOILT = (
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
)
OTHER = (
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("CUDA error: quoted in a value"),
    JobError("process 2 of 2 ended: RuntimeError: CUDA error: device-side assert triggered"),
    InputError("train.device: cuda was asked for but torch sees no GPU"),
    KeyError("out of memory"),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=str)
def test_missing_memory_is_known_in_all_its_forms(error):
    assert is_out_of_memory(error)
    assert not is_device_error(error)


@pytest.mark.parametrize("error", SPOILT, ids=str)
def test_a_spoilt_device_is_known_in_all_its_forms(error):
    assert is_device_error(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHER, ids=repr)
def test_other_errors_are_neither(error):
    assert not is_out_of_memory(error)
    assert not is_device_error(error)


def test_real_allocations_that_fail_are_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    text = out_of_memory_text(caught.value)
    assert text.startswith("out of memory: DefaultCPUAllocator: can't allocate memory: you tried")


def raised_from(cause: Exception, *, explicit: bool) -> Exception:
    try:
        try:
            raise cause
        except Exception as error:
            raise JobError("it went wrong") from (error if explicit else None)
    except JobError as error:
        return error


@pytest.mark.parametrize("explicit", [True, False])
def test_what_an_error_came_from_counts(explicit):
    assert is_out_of_memory(raised_from(NO_MEMORY[0], explicit=explicit))
    assert is_device_error(raised_from(SPOILT[0], explicit=explicit))


def test_a_circle_of_causes_ends():
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert not is_device_error(one)


def test_the_reason_is_one_line_with_what_to_change():
    assert out_of_memory_text(NO_MEMORY[0]) == (f"out of memory: CUDA out of memory; {REMEDY}")
    assert out_of_memory_text(MemoryError()) == f"out of memory: MemoryError; {REMEDY}"
    assert (
        out_of_memory_text(JobError("no room for\na crop")) == "out of memory: no room for a crop"
    )
    assert out_of_memory_text(JobError("out of memory: a")) == "out of memory: a"


def test_a_command_that_runs_out_ends_with_one_message(capsys):
    def job():
        raise NO_MEMORY[0]

    assert guarded(job) == 1
    assert capsys.readouterr().err == f"failed: out of memory: CUDA out of memory; {REMEDY}\n"
    with pytest.raises(RuntimeError, match="shapes"):
        guarded(lambda: (_ for _ in ()).throw(OTHER[0]))


class Big:
    """Stands for a tensor: torch frees its memory when Python drops it."""


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_exception_holds_nothing_once_memory_is_given_back(kind):
    kept = []

    def training():
        big = Big()
        kept.append(weakref.ref(big))
        raise kind("stop")

    with pytest.raises(kind) as caught, memory_given_back():
        training()
    assert caught.value.args == ("stop",)
    assert kept[0]() is None  # though the exception is still there


def test_torch_is_not_imported_for_it():
    code = (
        "import sys; from detector.core.device_errors import *; release_memory(); "
        "print(is_out_of_memory(MemoryError()), is_device_error(ValueError('x'))); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_without_a_gpu_nothing_is_held():
    assert release_memory() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_what_is_still_used_on_a_gpu_is_counted():
    held = torch.empty(2**27, dtype=torch.uint8, device="cuda")
    gone = Big()
    gone.cycle, gone.tensor = gone, torch.empty(2**28, dtype=torch.uint8, device="cuda")
    del gone
    assert 2**27 <= release_memory() < 2**28
    assert torch.cuda.max_memory_allocated() < 2**28
    del held
    assert release_memory() == 0
