"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest_plugins = ["selection"]


def _make_dataset(
    root: Path,
    *,
    split: str = "train",
    pages: int = 2,
    width: int = 160,
    height: int = 128,
    words: int = 4,
    seed: int = 0,
) -> Path:
    """Write a split in the competition's layout: white pages with dark rectangles as words.

    Words stand in two columns without touching. Calling again with another split adds it.
    Returns `root`.
    """
    folder = root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    (root / "jsons").mkdir(exist_ok=True)
    images = {}
    for index in range(pages):
        rng = np.random.default_rng([seed, index, *split.encode()])
        image = np.full((height, width, 3), 255, np.uint8)
        annotated = {}
        for number, box in enumerate(_boxes(rng, width, height, words), 1):
            x1, y1, x2, y2 = box
            cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), (30, 30, 30), -1)
            annotated[f"{number:04d}"] = {
                "points": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]],
                "transcription": f"word{number}",
                "language": ["en"],
                "orientation": "Horizontal",
                "ignore": False,
            }
        name = f"{split}_{index:03d}.jpg"
        assert cv2.imwrite(str(folder / name), image)
        images[name] = {"img_w": width, "img_h": height, "words": annotated}
    (root / "jsons" / f"{split}.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    return root


def _boxes(
    rng: np.random.Generator, width: int, height: int, words: int
) -> list[tuple[int, int, int, int]]:
    """`words` boxes x1, y1, x2, y2, one in each cell of two columns, of varied length."""
    rows = max(1, -(-words // 2))
    cell_w, cell_h = width // 2, height // rows
    boxes = []
    for i in range(words):
        w = int(cell_w * rng.uniform(0.5, 0.8))
        h = max(2, int(cell_h * rng.uniform(0.4, 0.6)))
        x = (i % 2) * cell_w + int(rng.integers(1, max(2, cell_w - w)))
        y = (i // 2) * cell_h + int(rng.integers(1, max(2, cell_h - h)))
        boxes.append((x, y, x + w, y + h))
    return boxes


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trainings, those of Ray and of other processes too, keep no pages in the user's caches.

    The folder is there already, so that none of them tells that it makes it.
    """
    users, own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "receipt-orchestrator"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", os.environ.get("HF_HOME") or f"{users}/huggingface")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))
        Path(os.environ["XDG_CACHE_HOME"], own, "pages").mkdir(parents=True)
        yield


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """Detector settings, by dotted key, of a training that takes a second on drawn pages."""
    return {
        "data.longest_side_px": 128,
        "augment.crop_px": 64,
        "model.backbone": "mobilenetv3_small_050",
        "model.weights": "none",
        "model.neck_channels": 16,
        "train.batch_size": 2,
    }


@pytest.fixture(scope="session")
def run_module() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_module("detector.predict", "key=value", ...)`: a command in a process of its own."""

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    """`wait_for(happened, what, while_=..., told=...)`: patient, since machines may be busy."""
    from chaos_runs import wait_for

    return wait_for


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    """The function `make_dataset(root, *, split, pages, width, height, words, seed) -> root`."""
    return _make_dataset


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[list[Any]]:
    """One small Ray for all tests that do not hurt it: two cores, and a GPU on paper."""
    from orchestrator.place.cluster import connected
    from orchestrator.place.resources import Machine

    with connected(Machine(cpus=2, gpus=1)) as machines:
        yield machines


@pytest.fixture(scope="session")
def s3_store() -> Iterator[Any]:
    """A server that speaks S3 (see benchmarks/s3_store.py)."""
    from s3_store import Store

    with Store() as store:
        yield store


@pytest.fixture
def bucket_url(s3_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of `key` in a new bucket; copies on this machine lie in the test's own folder."""
    from s3_store import CREDENTIALS

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return s3_store.new_bucket()
