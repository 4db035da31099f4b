"""The benchmarks' own modules, and small tables of trainings for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def _write_table(path: Path, configs: list[Any], settings: list[Any], levels: Any) -> Path:
    """A file as `record_trainings.py` writes it; `levels` is `(C, E, 2, S)` of 1/65535."""
    hmeans = np.asarray(levels, np.uint16)
    np.savez_compressed(
        path,
        configs=np.array(json.dumps(configs)),
        settings=np.array(json.dumps(settings)),
        about=np.array(json.dumps({"val_pages": 4})),
        hmeans=hmeans,
        seconds=np.zeros(hmeans.shape[:2], np.float32),
    )
    return path


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Path]:
    """The function `write_table(path, configs, settings, levels) -> path`."""
    return _write_table


@pytest.fixture(scope="session")
def drawn_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve trainings of three epochs at four settings that differ much, the last one best."""
    configs = [
        {"optimizer.lr": lr, "model.neck": neck}
        for lr in (0.001, 0.002, 0.004, 0.008)
        for neck in ("a", "b", "c")
    ]
    settings = [{"thresh": t, "box_thresh": b} for t in (0.2, 0.3) for b in (0.4, 0.5)]
    rng = np.random.default_rng(0)
    hmeans = np.linspace(0.3, 0.8, 12)[:, None, None, None] + rng.uniform(0, 0.01, (12, 3, 2, 4))
    hmeans *= np.array([0.3, 0.7, 1.0])[:, None, None]
    hmeans *= np.array([0.7, 0.8, 0.9, 1.0])
    path = tmp_path_factory.mktemp("tables") / "drawn.npz"
    return _write_table(path, configs, settings, np.rint(hmeans * 65535))
