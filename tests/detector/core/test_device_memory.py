from __future__ import annotations

import subprocess
import sys

import pytest

from detector.core.device import keep_freed_memory

# Page faults of making and freeing an array of 64 MiB ten times, once the heap has settled.
FAULTS = """
import resource, sys
import torch
from detector.core.device import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    found = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
    )
    return int(found.stdout)


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


GLIBC = in_a_fresh_process(
    "from detector.core.device import keep_freed_memory; print(keep_freed_memory())"
)


@pytest.mark.skipif(GLIBC != "True", reason="needs glibc")
def test_large_arrays_reuse_the_memory_of_those_freed_before():
    kept, returned = faults("keep"), faults("return")
    assert returned > 1000  # 16384 pages of 4 KiB an array, fewer where pages are larger
    assert kept < returned / 100


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    class Library:
        def __init__(self, _name: None) -> None: ...

    monkeypatch.setattr("ctypes.CDLL", Library)
    assert keep_freed_memory() is False
