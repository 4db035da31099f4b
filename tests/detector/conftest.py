"""A small real dataset and a small real training, shared by the tests of whole commands."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from detector.config.settings import TrainConfig, with_values
from detector.training.trainer import train

# Enough steps, and low enough thresholds, to find the words of the drawn pages.
LEARNT = {
    "train.seed": 5,  # some seeds need more epochs
    "train.epochs": 40,
    "train.eval_every": 10,
    "augment.crop_px": 96,
    "optimizer.lr": 5e-3,
    "optimizer.backbone_lr_ratio": 1.0,
    "optimizer.ema_decay": 0.9,
    "postprocess.box_thresh": 0.3,
}


@pytest.fixture(scope="session")
def drawn_root(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable) -> Path:
    """Four training and two validation pages."""
    folder = tmp_path_factory.mktemp("drawn")
    make_dataset(folder, split="train", pages=4)
    return make_dataset(folder, split="val", pages=2, seed=1)


@pytest.fixture(scope="session")
def learnt_settings(tiny_settings: dict) -> dict:
    """With which a training learns to find the words of the drawn pages."""
    return tiny_settings | LEARNT


@pytest.fixture(scope="session")
def tiny(drawn_root: Path, tiny_settings: dict) -> Callable[..., TrainConfig]:
    """A config that trains in a second; takes dotted keys to replace."""

    def make(values: dict | None = None) -> TrainConfig:
        settings = tiny_settings | {
            "data.root": drawn_root,
            "train.epochs": 3,
            "train.threads": 1,
            "train.device": "cpu",
            "optimizer.lr": 3e-3,
        }
        return with_values(TrainConfig(), settings | (values or {}))

    return make


@pytest.fixture(scope="session")
def trained(tiny: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that has learnt to find the drawn words."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(tiny(LEARNT), folder, log=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def file_limit() -> Callable[[int], AbstractContextManager[None]]:
    """`with file_limit(size):` no file of this process grows beyond `size` bytes, which is
    what a full disk does."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
