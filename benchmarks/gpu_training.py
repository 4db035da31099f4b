"""Whole trainings: what validation adds to an epoch, and what receipts give."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gpu_bench import Bench
from gpu_figures import Figure, at_most, seen

from detector.core.errors import JobError
from detector.data.labels.annotations import read_split
from detector.training.trainer import train

END_S = 10.0  # to end when interrupted


def validation(bench: Bench) -> Iterator[Figure]:
    """Seconds of an epoch that is validated, with its sweep, and of one that is not."""
    with_it, without = (epoch_seconds(bench, every) for every in (1, bench.sizes.epochs))
    pages, others = bench.sizes.epoch_pages, bench.sizes.epoch_val_pages
    yield seen(f"an epoch of {pages} pages, without validation", without, "s")
    yield seen(f"an epoch with {others} pages to validate on", with_it, "s")
    yield at_most("validation's share of an epoch", max(0.0, 1 - without / with_it), 0.1, "%")


def epoch_seconds(bench: Bench, every: int) -> float:
    """Between the lines of two epochs, on average; the first one and a validated last left out."""
    epochs, told = bench.sizes.epochs, []

    def log(message: str) -> None:
        if re.match(r"epoch \d+/", message):
            told.append(time.perf_counter())

    values = {"data.root": bench.epoch, "train.epochs": epochs, "train.eval_every": every}
    train(bench.config(values), bench.work / f"every{every}", log=log)
    if every > 1:
        told.pop()
    if len(told) < 2:
        raise JobError(f"a training of {epochs} epochs told of {len(told)}; it needs two lines")
    return (told[-1] - told[0]) / (len(told) - 1)


def receipts(bench: Bench) -> Iterator[Figure]:
    """The H-mean after some minutes of the command that a user would type."""
    settings = bench.config({})
    pages = len(read_split(bench.data, settings.data.train_split).pages)
    epochs = max(2, round(bench.sizes.crops / pages))
    output = bench.work / "receipts"
    given = {
        "data.root": bench.data,
        "data.cache": settings.data.cache,
        "output": output,
        "train.epochs": epochs,
        "train.batch_size": bench.sizes.batch,
        "train.eval_every": max(1, epochs // 8),
        "model.weights": bench.weights,
        "train.device": bench.device.type,
    } | dict(bench.sizes.settings)
    lines, taken = command(given, bench.left_s())
    found = [re.match(r"epoch (\d+)/.* best (\d\.\d+) ", line) for line in lines]
    scores = [match for match in found if match]
    if not scores:
        raise JobError("python -m detector.train was not validated: " + " / ".join(lines[-4:]))
    note = f"epoch {scores[-1][1]} of {epochs}, {pages} pages"
    yield seen("best H-mean on the validation split", float(scores[-1][2]), note=note, of_gpu=False)
    yield seen("the command, with its start and validations", taken, "s", of_gpu=False)


def command(given: dict[str, object], left_s: float) -> tuple[list[str], float]:
    """What `python -m detector.train` says, and its seconds; it is interrupted after `left_s`."""
    words = [sys.executable, "-m", "detector.train", *(f"{k}={v}" for k, v in given.items())]
    started = time.perf_counter()
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        words, cwd=root, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        timers = [
            threading.Timer(left_s, process.send_signal, [signal.SIGINT]),
            threading.Timer(left_s + END_S, process.kill),
        ]
        try:
            for timer in timers:
                timer.start()
            assert process.stderr is not None
            lines = process.stderr.read().splitlines()
        finally:
            for timer in timers:
                timer.cancel()
    return lines, time.perf_counter() - started
