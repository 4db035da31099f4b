"""TensorBoard's own reader finds every epoch, whatever machines and seconds files come from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from detector.training import event_files
from detector.training.event_files import PREFIX, last_second, write_events
from detector.training.monitor import Monitor


def trained(folder: Path, epoch: int) -> Path:
    """The event file of one epoch, by a process of its own."""
    before = set(folder.glob("*"))
    monitor = Monitor(folder, finished=epoch - 1)
    monitor.scalars({"cleval/hmean": epoch / 10}, epoch)
    monitor.close()
    (file,) = set(folder.glob("*")) - before
    return file


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    found = EventAccumulator(str(folder)).Reload().Scalars(tag)
    return [(event.step, pytest.approx(event.value)) for event in found]


def score(step: int, value: float) -> Event:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag="final", simple_value=value)]))


@pytest.mark.parametrize("ahead_s", [0, 3600])
def test_what_is_written_last_is_read_last_whatever_the_clocks_say(tmp_path, ahead_s):
    file = trained(tmp_path, 3)
    second = int(time.time()) + ahead_s
    file.rename(tmp_path / f"{PREFIX}{second:010d}.zoe.99999999.0")  # it would sort last
    write_events(tmp_path, [score(3, 0.3)])
    write_events(tmp_path, [score(5, 0.5)])
    assert points(tmp_path, "cleval/hmean") == [(3, 0.3)]
    assert points(tmp_path, "final") == [(3, 0.3), (5, 0.5)]


def test_epochs_of_one_second_are_read_in_order(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(event_files.time, "sleep", slept.append)
    monkeypatch.setattr(event_files.time, "time", lambda: 1_000_000_000.25)
    (tmp_path / f"{PREFIX}0999999999.a.1.0").touch()
    event_files.wait_for_the_next_second(tmp_path)
    assert slept == []
    (tmp_path / f"{PREFIX}1000000000.b.1.0").touch()
    event_files.wait_for_the_next_second(tmp_path)
    assert slept == [0.75]


def test_trainings_that_follow_at_once_lose_no_epoch(tmp_path):
    for epoch in (1, 2):
        file = trained(tmp_path, epoch)
        file.rename(file.with_name(file.name.rpartition(".")[0] + str(9 - epoch)))
    assert points(tmp_path, "cleval/hmean") == [(1, 0.1), (2, 0.2)]


def test_a_folder_without_event_files(tmp_path):
    (tmp_path / f"{PREFIX}x.y").touch()
    assert last_second(tmp_path) == last_second(tmp_path / "none") == 0
