"""A real training on a small drawn dataset: learning, resuming, refusing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detector.checkpoint import read_best
from detector.config import TrainConfig, with_values
from detector.errors import InputError, JobError
from detector.evaluate import evaluate
from detector.inference import load_detector
from detector.data.annotations import read_split
from detector.trainer import EpochReport, train

TINY = {
    "data.longest_side_px": 128,
    "augment.crop_px": 64,
    "model.backbone": "mobilenetv3_small_050",
    "model.weights": "none",
    "model.neck_channels": 16,
    "train.batch_size": 2,
    "train.epochs": 3,
    "train.threads": 1,
    "train.device": "cpu",
    "optimizer.lr": 3e-3,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_dataset) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder, split="train", pages=4)
    return make_dataset(folder, split="val", pages=2, seed=1)


def tiny(root: Path, **values: object) -> TrainConfig:
    named = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(TrainConfig(), TINY | {"data.root": root} | named)


def silent(_: str) -> None:
    return None


def stop_after(epoch: int):
    def report(done: EpochReport) -> None:
        if done.epoch == epoch:
            raise KeyboardInterrupt

    return report


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


@pytest.mark.parametrize("changes", [{}, {"optimizer__name": "sgd", "optimizer__ema_decay": 0.0}])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    root: Path, tmp_path: Path, changes: dict
):
    config = tiny(root, **changes)
    train(config, tmp_path / "straight", log=silent)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", report=stop_after(1), log=silent)
    last = train(config, tmp_path / "stopped", resume=True, log=silent)
    assert last.epoch == 3
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert straight.keys() == resumed.keys()
    different = [k for k in straight if not torch.equal(straight[k], resumed[k])]
    assert different == []


def test_an_epoch_that_was_cut_short_is_done_again(root: Path, tmp_path: Path):
    """The state on disk is always that of a finished epoch."""
    config = tiny(root)
    train(config, tmp_path / "straight", log=silent)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "moved", report=stop_after(2), log=silent)
    shutil.copytree(tmp_path / "moved", tmp_path / "elsewhere")
    train(config, tmp_path / "elsewhere", resume=True, log=silent)
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "elsewhere")
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_reports_carry_this_epoch_and_the_best_one(root: Path, tmp_path: Path):
    reports: list[EpochReport] = []
    config = tiny(root)
    last = train(config, tmp_path, report=reports.append, log=silent)
    assert [r.epoch for r in reports] == [1, 2, 3]
    assert last == reports[-1]
    best = 0.0
    for r in reports:
        best = max(best, r.metrics["hmean"])
        assert r.metrics["best_hmean"] == best
        assert r.metrics["loss/total"] > 0
        assert len(r.page_hmeans) == 2
    assert last.metrics["params_m"] > 0.1
    assert (last.checkpoint / "best" / "model.safetensors").is_file()


def test_the_kept_weights_score_what_was_reported(root: Path, tmp_path: Path):
    last = train(tiny(root, train__epochs=2), tmp_path, log=silent)
    detector, config = load_detector(tmp_path, device="cpu")
    assert read_best(tmp_path)[1].model.backbone == "mobilenetv3_small_050"
    scores = evaluate(detector, read_split(root, "val").pages)
    assert config.data.root == root
    assert scores.hmean == last.metrics["best_hmean"]
    assert scores.iou_hmean == last.metrics["best_iou_hmean"]


def test_a_model_learns_the_drawn_words(root: Path, tmp_path: Path):
    """Not a shape check: with enough steps the words of this simple set are found."""
    config = tiny(
        root,
        train__epochs=40,
        train__eval_every=10,
        augment__crop_px=96,
        optimizer__lr=5e-3,
        optimizer__backbone_lr_ratio=1.0,
        optimizer__ema_decay=0.9,
        postprocess__box_thresh=0.3,
    )
    reports: list[EpochReport] = []
    last = train(config, tmp_path, report=reports.append, log=silent)
    assert [r.epoch for r in reports] == [10, 20, 30, 40]
    assert last.metrics["best_hmean"] > 0.8


def test_tensorboard_has_losses_scores_rate_and_pages(root: Path, tmp_path: Path):
    config = tiny(root, train__epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, report=stop_after(1), log=silent)
    train(config, tmp_path, resume=True, log=silent)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    expected = {"loss/total", "loss/probability", "loss/threshold", "loss/binary", "train/lr"}
    expected |= {"cleval/hmean", "cleval/precision", "cleval/recall", "iou/hmean"}
    assert expected <= set(tags["scalars"])
    assert [e.step for e in events.Scalars("cleval/hmean")] == [1, 2]
    assert len(tags["images"]) == 2


def test_a_folder_in_use_is_refused(root: Path, tmp_path: Path):
    train(tiny(root, train__epochs=1), tmp_path, log=silent)
    with pytest.raises(InputError, match=r"holds a training already; add resume=true"):
        train(tiny(root, train__epochs=1), tmp_path, log=silent)


def test_resuming_a_finished_training_does_no_work(root: Path, tmp_path: Path):
    first = train(tiny(root, train__epochs=1), tmp_path, log=silent)
    again = train(tiny(root, train__epochs=1), tmp_path, resume=True, log=silent)
    assert again.metrics == first.metrics


def test_a_loss_that_is_not_finite_stops_the_training(root: Path, tmp_path: Path):
    config = tiny(root, optimizer__lr=1.0, optimizer__name="sgd", optimizer__clip_norm=0.0)
    config = with_values(config, {"loss.threshold_weight": 1000.0, "train.epochs": 20})
    with pytest.raises(JobError, match="the loss is not finite at step"):
        train(config, tmp_path, log=silent)


def test_missing_root_is_said(tmp_path: Path):
    with pytest.raises(InputError, match=r"data\.root: no dataset folder given"):
        train(TrainConfig(), tmp_path, log=silent)


def test_pages_without_any_word_are_refused(tmp_path: Path, make_dataset):
    make_dataset(tmp_path / "data", split="train", pages=2, words=0)
    make_dataset(tmp_path / "data", split="val", pages=2)
    with pytest.raises(InputError, match="has no word on any page"):
        train(tiny(tmp_path / "data"), tmp_path / "out", log=silent)


def test_a_page_that_breaks_later_is_skipped_and_named(root: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(root, data)
    victim = sorted((data / "images" / "train").iterdir())[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) * 2 // 3])
    lines: list[str] = []
    last = train(tiny(data, train__epochs=1), tmp_path / "out", log=lines.append)
    assert last.epoch == 1
    assert any(line.startswith("skipped:") and victim.name in line for line in lines)
