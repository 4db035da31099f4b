"""`best/` is that of the state beside it, wherever a kill has struck."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from detector.config.settings import TrainConfig
from detector.inference.checkpoint import read_best
from detector.training.epoch_end import EpochReport
from detector.training.storage.generations import LAST
from detector.training.trainer import train

# The H-mean rises in each of the first three epochs.
RISING = {
    "optimizer.ema_decay": 0.0,
    "optimizer.backbone_lr_ratio": 1.0,
    "optimizer.warmup_epochs": 0,
    "augment.crop_px": 96,
    "postprocess.thresh": 0.1,
    "postprocess.box_thresh": 0.05,
    "sweep.thresh": [0.1, 0.2],
    "sweep.box_thresh": [0.1, 0.2],
    "sweep.choose": True,
}

COPIED = """
import json, shutil, sys
from pathlib import Path
from detector.config.settings import TrainConfig
from detector.training.trainer import train

config = TrainConfig.model_validate(json.loads(Path(sys.argv[1]).read_text()))
folder, copies = Path(sys.argv[2]), Path(sys.argv[3])
armed, seen = False, set()

def watch(*_):
    global armed
    if not armed:
        return
    armed = False  # what follows tells of itself too
    files = [p for p in sorted(folder.rglob("*")) if "/maps" not in str(p)]
    files = [p for p in files if "tfevents" not in p.name]
    stats = [(str(p), s.st_ino, s.st_size, s.st_mtime_ns) for p in files for s in [p.stat()]]
    if str(stats) not in seen:
        shutil.copytree(folder, copies / f"{len(seen):03}", ignore=lambda *_: ["maps"])
        seen.add(str(stats))
    armed = True

def report(done):
    global armed
    armed = done.epoch == 1
    if done.epoch == 2:
        sys.exit(0)

sys.addaudithook(watch)
train(config, folder, report=report, log=lambda _: None)
"""


def silent(_: str) -> None:
    return None


def scores(folder: Path) -> dict[str, float]:
    """Those kept with the best weights."""
    with safe_open(folder / "checkpoint" / "best" / "model.safetensors", framework="pt") as file:
        return dict(json.loads(file.metadata()["scores"]))


def curve(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "box_thresh.json").read_text()))


def tensors(path: Path) -> list[tuple[str, bytes]]:
    return sorted((name, value.numpy().tobytes()) for name, value in load_file(path).items())


def kept(folder: Path, last: EpochReport) -> list[Any]:
    """All that a training leaves, but for how long it took."""
    figures = {k: v for k, v in last.metrics.items() if k not in ("seconds", "latency_ms")}
    checkpoint = folder / "checkpoint"
    best = checkpoint / "best" / "model.safetensors"
    config = (checkpoint / "best" / "config.yaml").read_text()
    pages = last.page_hmeans
    weights = [tensors(checkpoint / LAST), tensors(best)]
    return [figures, pages, last.tuned, config, scores(folder), curve(folder), *weights]


def test_a_training_killed_between_two_writes_goes_on_as_if_nothing_had_happened(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    """Its folder is copied whenever something in it has changed while an epoch is kept.

    A copy is what a kill at that moment leaves. In each the best weights are those of the state
    before anything more is trained, and all is that of an uninterrupted training at the end.
    """
    config = tiny(RISING)
    expected = kept(tmp_path / "one", train(config, tmp_path / "one", log=silent))
    (tmp_path / "config.json").write_text(config.model_dump_json())
    arguments = [tmp_path / name for name in ("config.json", "run", "copies")]
    subprocess.run([sys.executable, "-c", COPIED, *map(str, arguments)], check=True)
    copies = sorted((tmp_path / "copies").iterdir())
    assert len(copies) > 10
    epochs, completed = [], 0
    for folder in copies:
        lines: list[str] = []
        last = train(config, folder, resume=True, until=1, log=lines.append)
        completed += any("was not of epoch 2 yet" in line for line in lines)
        epochs.append(last.epoch)
        assert scores(folder)["hmean"] == last.metrics["best_hmean"]
        assert curve(folder)["epoch"] == last.metrics["best_epoch"] == last.epoch
        assert kept(folder, train(config, folder, resume=True, log=silent)) == expected
    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2}
    assert completed > 3


def test_the_last_report_is_given_again_by_a_training_that_is_done(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    """With the scores of its pages: whoever was to be told of it may have died."""
    config = tiny(RISING | {"train.epochs": 1})
    first = train(config, tmp_path, log=silent)
    assert first.page_hmeans.keys() == {"val_000.jpg", "val_001.jpg"}
    again = train(config, tmp_path, resume=True, log=silent)
    assert (again.metrics, again.page_hmeans) == (first.metrics, first.page_hmeans)
    assert (again.tuned, again.finished) == (first.tuned, True)


def test_settings_chosen_afterwards_stay_and_lost_weights_are_written_again(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    config = tiny(RISING | {"train.epochs": 2})
    train(config, tmp_path, log=silent)
    best, lines = tmp_path / "checkpoint" / "best", []
    weights = read_best(best)[0]
    text = (best / "config.yaml").read_text().replace("thresh: 0.1", "thresh: 0.15")
    (best / "config.yaml").write_text(text)
    train(config, tmp_path, resume=True, log=lines.append)
    assert (best / "config.yaml").read_text() == text
    assert not any("is written now" in line for line in lines)
    shutil.rmtree(best)
    train(config, tmp_path, resume=True, log=lines.append)
    assert f"{best}: was not of epoch 2 yet, so it is written now" in lines
    assert all(torch.equal(value, read_best(best)[0][name]) for name, value in weights.items())


def test_best_weights_that_the_state_does_not_know_are_told(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    """As when the state of the best epoch breaks, and the one before knows an older best one."""
    config, lines = tiny(RISING | {"train.epochs": 4, "train.eval_every": 2}), []
    expected = kept(tmp_path, train(config, tmp_path, log=silent))
    (tmp_path / "checkpoint" / LAST).write_bytes(b"")
    last = train(config, tmp_path, resume=True, log=lines.append)
    said = "is not of epoch 2, the best one up to epoch 3; the next better one takes its place"
    assert f"{tmp_path / 'checkpoint' / 'best'}: {said}" in lines
    assert kept(tmp_path, last) == expected
