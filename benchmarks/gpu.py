"""What a GPU sees of a training, in under eight minutes on a machine without network.

`python benchmarks/gpu.py [data=FOLDER] [out=gpu-figures] [minutes=7] [parts=feed,validation]
[weights=none]` measures parity with the CPU, whether the device waits for crops, bf16 and fp16,
a batch that does not fit, what validation adds, a training with its H-mean, predicted memory,
gradient checkpointing and `train.compile`. Without `data`, which has the splits train and val,
receipts are drawn. The table comes last; after every part `out` has it as `gpu.md`, and all as
`gpu.json`. A part that fails says why and the others go on, and so does what there is no time
for. `weights` are those of the backbone, as `model.weights`.

Neither Ray nor Optuna is needed. Without a GPU it is a rehearsal with tiny sizes, in which the
figures of a GPU are left out. Exit code 1: a part has failed; a goal that is missed is no failure.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_bench import FULL, TINY, Bench, Sizes, repeated
from gpu_feed import crops_and_use, waits
from gpu_figures import Figure, Outcome, failure, table, without_gpu, write
from gpu_memory import out_of_memory, predicted
from gpu_parity import parity, resume
from gpu_precision import precision
from gpu_steps import checkpointing, compiled
from gpu_training import receipts, validation
from timing import run

from detector.config.cli import log
from detector.core.device import choose_device, loader_processes
from detector.core.device_errors import memory_given_back
from detector.core.errors import InputError
from detector.core.files import require_writable
from detector.data.labels.annotations import read_split
from detector.data.synthetic.receipts import synthesize

DEFAULTS = {"data": None, "out": "gpu-figures", "minutes": 7, "parts": None, "weights": "none"}
GRACE_S = 15.0  # for a part that began in time
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Part:
    """A part of the check; it is left out where less than `seconds` are left for it."""

    name: str
    work: Callable[[Bench], Iterator[Figure]]
    seconds: float


PARTS = (
    Part("parity", parity, 15),
    Part("feed", crops_and_use, 40),
    Part("waits", waits, 10),
    Part("precision", precision, 50),
    Part("memory", out_of_memory, 30),
    Part("validation", validation, 60),
    Part("resume", resume, 20),
    Part("receipts", receipts, 45),
    Part("prediction", predicted, 30),
    Part("checkpointing", checkpointing, 20),
    Part("compile", compiled, 60),
)


def main(options: dict[str, Any]) -> int:
    deadline = time.monotonic() + 60 * options["minutes"]
    parts, device = chosen(options["parts"]), choose_device("auto")
    out = Path(options["out"])
    require_writable("out", out, folder=True)
    out.mkdir(parents=True, exist_ok=True)
    sizes = FULL if device.type == "cuda" else TINY
    if device.type == "cpu":
        log("no GPU: a rehearsal with tiny sizes, in which the figures of a GPU are left out")
    about = machine(device) | {"receipts": "given" if options["data"] else "drawn"}
    with tempfile.TemporaryDirectory(prefix="gpu-") as work:
        root = given_or_drawn(options["data"], Path(work), sizes)
        counts = {"train": sizes.epoch_pages, "val": sizes.epoch_val_pages}
        epoch = repeated(root, Path(work) / "epoch", counts)
        bench = Bench(device, sizes, root, epoch, Path(work), options["weights"], deadline)
        outcomes = measured(bench, parts, lambda found: write(out, about, found))
    for key, value in about.items():
        print(f"{key}: {value}")
    print(f"\n{table(outcomes)}")
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def chosen(names: str | None) -> tuple[Part, ...]:
    """The parts of these names, in the order of PARTS; InputError for an unknown one."""
    if names is None:
        return PARTS
    known, wanted = [part.name for part in PARTS], names.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(f"parts: {unknown[0]!r} is not one of {', '.join(known)}")
    return tuple(part for part in PARTS if part.name in wanted)


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    about: dict[str, Any] = {"card": "none"}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        about["card"] = f"{card.name}, {card.total_memory / 1e9:.0f} GB"
    about |= {
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}",
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "loader processes": loader_processes("auto", device),
    }
    if SHARED_MEMORY.is_dir():
        about["shared memory"] = f"{shutil.disk_usage(SHARED_MEMORY).total / 1e9:.1f} GB"
    return about


def given_or_drawn(data: str | None, work: Path, sizes: Sizes) -> Path:
    """The folder of receipts; InputError where a split of it has no page."""
    if data is None:
        return synthesize(
            work / "drawn",
            images=sizes.pages,
            val_images=sizes.val_pages,
            seed=0,
            longest_side_px=sizes.page_px,
        )
    for split in ("train", "val"):
        read_split(Path(data), split)
    return Path(data).resolve()


def measured(
    bench: Bench, parts: Sequence[Part], keep: Callable[[Sequence[Outcome]], None]
) -> list[Outcome]:
    """What all parts gave; `keep` is called after each with those so far."""
    outcomes: list[Outcome] = []
    for part in parts:
        log(f"{part.name}: {bench.left_s():.0f} s are left")
        outcomes.append(outcome_of(part, bench))
        keep(outcomes)
    return outcomes


def outcome_of(part: Part, bench: Bench) -> Outcome:
    """The figures of a part, those before a failure too."""
    cuda, left = bench.device.type == "cuda", bench.left_s()
    if left < (part.seconds if cuda else 0):
        reason = f"not measured: {part.seconds:.0f} s are needed, {max(left, 0):.0f} s were left"
        return Outcome(part.name, reason=reason)
    figures: list[Figure] = []
    reason = trace = ""
    started = time.monotonic()
    try:
        with memory_given_back(), limited(left + GRACE_S):
            for figure in part.work(bench):
                figures.append(figure if cuda else without_gpu(figure))
    except Exception as error:  # whatever it is: the other parts go on
        reason, trace = failure(error)
        log(f"{part.name}: failed: {reason}")
    taken = time.monotonic() - started
    return Outcome(part.name, tuple(figures), taken, reason, bool(reason), trace)


@contextmanager
def limited(left_s: float) -> Iterator[None]:
    """A block that raises TimeoutError when it takes longer."""

    def end(*_: object) -> None:
        raise TimeoutError("no time was left for the rest")

    def send() -> None:  # to the thread that may be waiting within a call of the system
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, end)
    timer = threading.Timer(left_s, send)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
