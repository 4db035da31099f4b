from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.core.errors import JobError
from detector.data.labels.annotations import Page, read_split
from detector.inference import latency
from detector.inference.detector import Detector, load_detector
from detector.inference.latency import PAGES, latency_ms
from detector.postprocess.polygons import Detections


class Counting(Detector):
    """Counts pages, and makes the clock say that the n-th one took n ms."""

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        found = super().__call__(image)
        SEEN.append(image)
        CLOCK[0] += len(SEEN) * 1e-3
        return found


SEEN: list[NDArray[np.uint8]] = []
CLOCK = [0.0]


@pytest.fixture
def counting(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    found, _ = load_detector(trained, device="cpu")
    SEEN.clear()
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: CLOCK[0]))
    return Counting(found.model, found.preprocess, found.postprocess, found.device)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable) -> tuple[Page, ...]:
    root = make_dataset(tmp_path_factory.mktemp("many"), split="val", pages=2 * PAGES + 1)
    return read_split(root, "val").pages


def test_the_median_of_some_pages_after_one_that_is_not_counted(
    counting: Detector, pages: tuple[Page, ...]
):
    """The first call, which took 1 ms, is left out: 2, 3 and 4 ms are counted."""
    assert latency_ms(counting, pages[:3]) == pytest.approx(3.0)
    assert len(SEEN) == 4
    assert np.array_equal(SEEN[0], SEEN[1])
    SEEN.clear()
    assert latency_ms(counting, pages) == pytest.approx(np.median(range(2, PAGES + 2)))
    different = {image.tobytes() for image in SEEN}
    assert (len(SEEN), len(different)) == (PAGES + 1, PAGES)


def test_pages_that_cannot_be_read_are_passed_over(
    counting: Detector, pages: tuple[Page, ...], tmp_path: Path
):
    lost = replace(pages[0], path=tmp_path / "lost.jpg")
    assert latency_ms(counting, [lost, *pages[:2]]) == pytest.approx(2.5)
    with pytest.raises(JobError, match="no page could be read to measure"):
        latency_ms(counting, [lost])
    with pytest.raises(JobError, match="no page could be read to measure"):
        latency_ms(counting, [])


def test_nothing_takes_longer_than_the_whole(trained: Path, pages: tuple[Page, ...]):
    """On the real clock: the median of the pages is below the time of all."""
    detector, _ = load_detector(trained, device="cpu")
    started = time.perf_counter()
    found = latency_ms(detector, pages[:3])
    assert 0 < found < (time.perf_counter() - started) * 1e3
