"""Epochs that end beside the next one: the same files, figures and decisions as at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detector.config.settings import PostprocessConfig, TrainConfig, with_values
from detector.core.errors import JobError
from detector.data.page import cache as cache_module
from detector.inference.checkpoint import read_best
from detector.training.epoch_end import EpochReport, further_settings
from detector.training.trainer import train
from detector.training.validation.processes import ScoringProcesses

BASE = PostprocessConfig()
TIMED = ("seconds", "latency_ms", "waiting")


def silent(_: str) -> None:
    return None


def figures(report: EpochReport) -> dict[str, float]:
    return {k: v for k, v in report.metrics.items() if k not in TIMED}


def tensors(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / f"{name}.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_further_settings_follow_from_what_the_last_validation_chose():
    config = TrainConfig()
    tuned = {"thresh": 0.1, "box_thresh": 0.3, "shape": "polygon", "unclip": "exact"}

    def tried(config: TrainConfig, tuned: dict[str, Any]) -> set[tuple[Any, ...]]:
        found = further_settings(config, config.postprocess, tuned)
        return {(s.thresh, s.shape, s.unclip) for s in found}

    assert tried(config, tuned) == {(0.05, "polygon", "exact")}
    assert tried(config, tuned | {"thresh": 0.15}) == set()
    assert tried(config, {}) == set()  # before the first validation
    assert tried(with_values(config, {"train.sweep": False}), tuned) == set()
    given = with_values(config, {"sweep.thresh": [0.1, 0.2]})
    assert tried(given, tuned) == set()
    (more,) = {s.box_thresh for s in further_settings(given, BASE, tuned | {"box_thresh": 0.2})}
    assert more == 0.15


@pytest.mark.parametrize("changes", [{}, {"train.processes": 2, "train.threads": 1}])
def test_an_epoch_that_ends_beside_the_next_one_ends_as_one_at_once(
    tiny, tmp_path: Path, changes: dict[str, Any]
):
    """State, the one before, best weights, reports, lines and curves; in one process and two."""
    reports: dict[int, list[EpochReport]] = {0: [], 2: []}
    lines: dict[int, list[str]] = {0: [], 2: []}
    for workers in (0, 2):
        folder, config = tmp_path / str(workers), tiny({"data.workers": workers} | changes)
        train(config, folder, report=reports[workers].append, log=lines[workers].append)
    for one, other in zip(reports[0], reports[2], strict=True):
        assert (one.epoch, one.finished, one.tuned) == (other.epoch, other.finished, other.tuned)
        assert (figures(one), one.page_hmeans) == (figures(other), other.page_hmeans)
    assert [r.epoch for r in reports[2]] == [1, 2, 3]
    for name in ("last", "previous"):
        assert same(tensors(tmp_path / "0", name), tensors(tmp_path / "2", name))
    assert same(read_best(tmp_path / "0")[0], read_best(tmp_path / "2")[0])
    told = [
        [re.sub(r"(  waiting for crops \d+%)?  \d+ s$", "", line) for line in lines[w][-3:]]
        for w in (0, 2)
    ]
    assert told[0] == told[1]
    scalars, images = [], []
    for workers in (0, 2):
        events = EventAccumulator(str(tmp_path / str(workers)))
        events.Reload()
        scalars.append([(e.step, e.value) for e in events.Scalars("cleval/hmean")])
        tags = events.Tags()["images"]
        images.append({t: [e.encoded_image_string for e in events.Images(t)] for t in tags})
    assert scalars[0] == scalars[1]
    assert images[0] == images[1]
    assert images[0]


def test_patience_ends_it_though_another_epoch_was_trained_meanwhile(tiny, tmp_path: Path):
    values = {"train.epochs": 30, "train.patience": 2, "optimizer.lr": 1e-12}
    reports: list[EpochReport] = []
    for workers in (0, 1):
        config = tiny(values | {"data.workers": workers})
        train(config, tmp_path / str(workers), report=reports.append, log=silent)
    assert [(r.epoch, r.finished) for r in reports] == 2 * [(1, False), (2, False), (3, True)]
    assert same(tensors(tmp_path / "0"), tensors(tmp_path / "1"))
    again = train(config, tmp_path / "1", report=reports.append, resume=True, log=silent)
    assert (again.epoch, again.finished, len(reports)) == (3, True, 6)


def test_a_pause_waits_for_its_scores(tiny, tmp_path: Path):
    config = tiny({"data.workers": 1})
    reports: list[EpochReport] = []
    last = train(config, tmp_path, report=reports.append, until=2, log=silent)
    assert [r.epoch for r in reports] == [1, 2]
    assert last == reports[-1]
    assert tensors(tmp_path)


def test_an_interruption_keeps_the_epoch_that_is_not_told_yet(tiny, tmp_path: Path):
    """By the first batch of the second epoch, when the scores of the first may still be missing."""
    straight = train(tiny(), tmp_path / "straight", log=silent)
    seen = 0

    def interrupt(module: torch.nn.Module, _: object, __: object) -> None:
        nonlocal seen
        seen += module.training and type(module).__name__ == "DBNet"
        if seen > steps:
            raise KeyboardInterrupt

    steps = 3  # of an epoch
    hook = torch.nn.modules.module.register_module_forward_hook(interrupt)
    config = tiny({"data.workers": 1})
    try:
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", log=silent)
    finally:
        hook.remove()
    lines: list[str] = []
    last = train(config, tmp_path / "stopped", resume=True, log=lines.append)
    assert "resuming after epoch 1 of 3" in lines
    assert same(tensors(tmp_path / "straight"), tensors(tmp_path / "stopped"))
    assert figures(last) == figures(straight)


def test_a_killed_scoring_process_is_an_error_with_a_remedy(tiny, tmp_path: Path, monkeypatch):
    begun = ScoringProcesses.__init__

    def begin_and_kill(self: ScoringProcesses, *arguments: Any) -> None:
        begun(self, *arguments)
        assert self._pool is not None
        for pid in list(self._pool._processes):
            os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(ScoringProcesses, "__init__", begin_and_kill)
    with pytest.raises(JobError, match=r"scores validation pages was killed.*data\.workers"):
        train(tiny({"data.workers": 1}), tmp_path, log=silent)


CHILD = """
import sys, time
from detector.config.settings import PostprocessConfig
from detector.training.validation.processes import PageScorer, ScoringProcesses
processes = ScoringProcesses(PageScorer((), (PostprocessConfig(),)), 2)
print(*processes._pool._processes, flush=True)
time.sleep(600)
"""


def test_scoring_processes_end_with_the_one_that_started_them():
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        pids = [int(pid) for pid in one.stdout.readline().split()]
        assert len(pids) == 2
        one.kill()
    deadline = time.monotonic() + 30
    while any(map(alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie, which nobody may have waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_validation_pages_are_prepared_once(tiny, tmp_path: Path, monkeypatch):
    """In three epochs, each with a validation, and to the same scores as without a cache."""
    read: list[str] = []
    plain = cache_module.read_image

    def counted(path: Path) -> Any:
        read.append(path.name)
        return plain(path)

    monkeypatch.setattr(cache_module, "read_image", counted)
    config = tiny({"data.cache": tmp_path / "cache"})
    kept = train(config, tmp_path / "kept", log=silent)
    assert sorted(read) == sorted(set(read))
    assert any(name.startswith("val") for name in read)
    anew = train(tiny({"data.cache": None}), tmp_path / "anew", log=silent)
    assert figures(kept) == figures(anew)
