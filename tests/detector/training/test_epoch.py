from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from detector.training.epoch import Waiting
from detector.training.trainer import train


def slowly(count: int, seconds: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(seconds)
        yield number


def test_waiting_is_the_share_of_time_without_a_batch():
    """Three times as long for a batch as with it."""
    clock = Waiting()
    for _ in clock.through(slowly(5, 0.06)):  # type: ignore[arg-type]
        time.sleep(0.02)
    assert 0.5 < clock.share() < 0.9
    clock = Waiting()
    for _ in clock.through(slowly(5, 0.0)):  # type: ignore[arg-type]
        time.sleep(0.02)
    assert 0 <= clock.share() < 0.5


def test_a_training_with_loader_processes_says_how_long_it_waited(tiny, tmp_path: Path):
    one = train(tiny({"train.epochs": 1}), tmp_path / "none", log=lambda _: None)
    assert "waiting" not in one.metrics
    config = tiny({"train.epochs": 1, "data.workers": 1})
    other = train(config, tmp_path / "one", log=lambda _: None)
    assert 0 <= other.metrics["waiting"] <= 1
