"""What a training step takes, as `detector.warmup` measures it, without that module's imports."""

from __future__ import annotations

from dataclasses import dataclass

# What a process takes of a GPU beside its tensors: CUDA, cuBLAS and cuDNN with their kernels.
CONTEXT_BYTES = 600 * 2**20


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step and, on a GPU, the bytes that its process takes of it.

    memory_bytes: the most that torch reserved, and CONTEXT_BYTES; None on a CPU.
    gpu_bytes: what was free on the GPU before, and CONTEXT_BYTES; None on a CPU.
    """

    seconds: float
    memory_bytes: int | None = None
    gpu_bytes: int | None = None
