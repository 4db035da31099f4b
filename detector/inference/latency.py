"""How long a page takes, from its pixels in memory to polygons."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import Page, read_image
from detector.inference.detector import Detector

PAGES = 10  # measured, evenly spaced over those given


def latency_ms(detector: Detector, pages: Sequence[Page]) -> float:
    """Median milliseconds from a decoded page to its polygons, one page at a time.

    That is preprocessing, network and post-processing of up to `PAGES` of the pages, after one
    page that is not counted, on the device and the threads of this process. Masks of the
    background are found anew. It depends on the architecture, the size of pages and the
    machine, and hardly on the weights: only as they find more or fewer regions. Pages that
    cannot be read are passed over; raises JobError when none is left.
    """
    preparation = replace(detector.preprocess.preparation, masks=None)
    detector = replace(detector, preprocess=replace(detector.preprocess, preparation=preparation))
    taken: list[float] = []
    for index in _spread(len(pages)):
        try:
            image = read_image(pages[index].path)
        except InputError:
            continue
        if not taken:
            _milliseconds(detector, image)  # loads kernels and fills caches
        taken.append(_milliseconds(detector, image))
    if not taken:
        raise JobError("no page could be read to measure the time that a page takes")
    return statistics.median(taken)


def _spread(count: int) -> list[int]:
    """At most `PAGES` different indices below `count`, evenly spaced."""
    kept = min(count, PAGES)
    return [count * i // kept for i in range(kept)]


def _milliseconds(detector: Detector, image: NDArray[np.uint8]) -> float:
    _wait(detector.device)
    started = time.perf_counter()
    detector(image)
    _wait(detector.device)
    return (time.perf_counter() - started) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
