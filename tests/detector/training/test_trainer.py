"""A real training on a small drawn dataset: learning, resuming, refusing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.modules.module import register_module_forward_pre_hook

from detector.config.settings import TrainConfig
from detector.core.errors import InputError, JobError
from detector.data.labels.annotations import read_split
from detector.inference.checkpoint import read_best
from detector.inference.detector import load_detector
from detector.inference.evaluation import evaluate
from detector.model.backbone import Backbone
from detector.model.dbnet import DBNet
from detector.training.epoch_end import EpochReport
from detector.training.monitor import curves
from detector.training.step_cost import Room
from detector.training.storage.provenance import read_record
from detector.training.trainer import train


def silent(_: str) -> None:
    return None


def stop_after(epoch: int):
    def report(done: EpochReport) -> None:
        if done.epoch == epoch:
            raise KeyboardInterrupt

    return report


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer.name": "sgd", "optimizer.ema_decay": 0.0},
        {"optimizer.layer_decay": 0.5, "optimizer.freeze_epochs": 1},
    ],
)
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    tiny, tmp_path: Path, changes: dict
):
    config = tiny(changes)
    train(config, tmp_path / "straight", log=silent)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", report=stop_after(1), log=silent)
    last = train(config, tmp_path / "stopped", resume=True, log=silent)
    assert last.epoch == 3
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert straight.keys() == resumed.keys()
    different = [k for k in straight if not torch.equal(straight[k], resumed[k])]
    assert different == []


@pytest.mark.parametrize(("crop_px", "searched"), [(64, {True}), (0, {False})])
def test_cudnn_searches_while_crops_of_one_shape_are_trained_on_and_never_for_pages(
    tiny, tmp_path: Path, crop_px: int, searched: set[bool]
):
    training, evaluating = set(), set()

    def note(module: torch.nn.Module, _: object) -> None:
        if isinstance(module, DBNet):
            found = training if module.training else evaluating
            found.add(torch.backends.cudnn.benchmark)

    hook = register_module_forward_pre_hook(note)
    try:
        train(tiny({"augment.crop_px": crop_px, "train.epochs": 1}), tmp_path, log=silent)
    finally:
        hook.remove()
    assert (training, evaluating) == (searched, {False})


@pytest.mark.parametrize(("name", "rate"), [("adamw", 1e-3), ("sgd", 7e-3)])
def test_each_optimizer_trains_at_a_rate_of_its_own(tiny, tmp_path: Path, name: str, rate: float):
    values = {"optimizer.name": name, "optimizer.lr": None, "optimizer.schedule": "constant"}
    config = tiny(values | {"optimizer.warmup_epochs": 0, "train.epochs": 1})
    assert train(config, tmp_path, log=silent).metrics["lr"] == rate


@pytest.mark.parametrize(("batch_size", "accumulate"), [(3, 1), (1, 1), (2, 2)])
def test_a_crop_whose_deepest_map_is_one_pixel_is_trained_on_alone_too(
    tiny, tmp_path: Path, batch_size: int, accumulate: int
):
    """As the last batch, as every batch, and as a part of each: told where that is always so."""
    values = {"augment.crop_px": 32, "train.batch_size": batch_size, "train.epochs": 1}
    lines: list[str] = []
    config = tiny(values | {"train.accumulate": accumulate})
    assert train(config, tmp_path, log=lines.append).metrics["loss/total"] > 0
    told = [line for line in lines if line.startswith("augment.crop_px=32 with one crop at a time")]
    assert len(told) == (batch_size != 3)


def test_mixed_precision_trains_and_resumes_exactly_too(tiny, tmp_path: Path):
    config = tiny({"train.amp": "bf16"})
    last = train(config, tmp_path / "straight", log=silent)
    assert last.metrics["loss/total"] > 0
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", report=stop_after(2), log=silent)
    train(config, tmp_path / "stopped", resume=True, log=silent)
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_loader_processes_change_nothing(tiny, tmp_path: Path):
    """Data order and augmentation depend on seed, epoch and page alone."""
    train(tiny({"train.epochs": 2}), tmp_path / "none", log=silent)
    train(tiny({"train.epochs": 2, "data.workers": 2}), tmp_path / "two", log=silent)
    none, two = weights(tmp_path / "none"), weights(tmp_path / "two")
    assert all(torch.equal(none[k], two[k]) for k in none)


def test_an_epoch_that_was_cut_short_is_done_again(tiny, tmp_path: Path):
    """The state on disk is always that of a finished epoch."""
    config = tiny()
    train(config, tmp_path / "straight", log=silent)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "moved", report=stop_after(2), log=silent)
    shutil.copytree(tmp_path / "moved", tmp_path / "elsewhere")
    train(config, tmp_path / "elsewhere", resume=True, log=silent)
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "elsewhere")
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_reports_carry_this_epoch_and_the_best_one(tiny, tmp_path: Path):
    reports: list[EpochReport] = []
    config = tiny()
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
    assert last.metrics["latency_ms"] == reports[0].metrics["latency_ms"] > 0
    assert not any("latency" in key for key in curves(last.metrics))
    assert (last.checkpoint / "best" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"preprocess.tile_px": 64, "preprocess.tile_overlap_px": 32},
        {"preprocess.test_scale": 1.5},
        {"preprocess.crop": True, "preprocess.test_scale": 0.75},
    ],
    ids=["whole", "tiles", "larger", "cropped"],
)
def test_the_kept_weights_score_what_was_reported(tiny, drawn_root: Path, tmp_path: Path, values):
    last = train(tiny({"train.epochs": 2} | values), tmp_path, log=silent)
    detector, config = load_detector(tmp_path, device="cpu")
    assert read_best(tmp_path)[1].model.backbone == "mobilenetv3_small_050"
    scores = evaluate(detector, read_split(drawn_root, "val").pages)
    assert config.data.root == drawn_root
    assert scores.hmean == last.metrics["best_hmean"]
    assert scores.iou_hmean == last.metrics["best_iou_hmean"]


def test_a_model_learns_the_drawn_words(trained: Path, drawn_root: Path):
    """Not a shape check: with enough steps the words of this simple set are found."""
    detector, config = load_detector(trained, device="cpu")
    assert config.train.eval_every == 10
    assert evaluate(detector, read_split(drawn_root, "val").pages).hmean > 0.8


def test_tensorboard_has_losses_scores_rate_and_pages(tiny, tmp_path: Path):
    config = tiny({"train.epochs": 2})
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


def test_a_folder_in_use_is_refused(tiny, tmp_path: Path):
    train(tiny({"train.epochs": 1}), tmp_path, log=silent)
    with pytest.raises(InputError, match=r"holds a training already; add resume=true"):
        train(tiny({"train.epochs": 1}), tmp_path, log=silent)


def test_resuming_a_finished_training_does_no_work(tiny, tmp_path: Path):
    first = train(tiny({"train.epochs": 1}), tmp_path, log=silent)
    again = train(tiny({"train.epochs": 1}), tmp_path, resume=True, log=silent)
    assert again.metrics == first.metrics


def test_at_a_constant_rate_more_epochs_are_those_of_a_single_training(tiny, tmp_path: Path):
    values = {"optimizer.schedule": "constant"}
    train(tiny(values | {"train.epochs": 1}), tmp_path / "parts", log=silent)
    train(tiny(values), tmp_path / "parts", resume=True, log=silent)
    train(tiny(values), tmp_path / "straight", log=silent)
    straight, parts = weights(tmp_path / "straight"), weights(tmp_path / "parts")
    assert [name for name in straight if not torch.equal(straight[name], parts[name])] == []


def test_more_epochs_are_refused_where_they_would_not_be_trained(tiny, tmp_path: Path):
    """Before the last one, and when patience is at its end."""
    values = {"train.patience": 1, "optimizer.lr": 1e-12, "train.epochs": 2}
    config, longer = tiny(values), tiny(values | {"train.epochs": 5})
    train(config, tmp_path, until=1, log=silent)
    with pytest.raises(InputError, match="more epochs can follow when all are done: here 1 of 2"):
        train(longer, tmp_path, resume=True, log=silent)
    assert train(config, tmp_path, resume=True, log=silent).epoch == 2
    with pytest.raises(
        InputError, match=r"train\.epochs: 5 change nothing, since train\.patience=1"
    ):
        train(longer, tmp_path, resume=True, log=silent)
    assert read_record(tmp_path).extended == ()


def test_a_loss_that_is_not_finite_stops_the_training(tiny, tmp_path: Path):
    weights = Backbone("mobilenetv3_small_050").body.state_dict()
    huge = {k: v * 1e38 if v.is_floating_point() else v for k, v in weights.items()}
    save_file(huge, tmp_path / "huge.safetensors")
    config = tiny({"model.weights": str(tmp_path / "huge.safetensors")})
    with pytest.raises(JobError, match="the loss is not finite at step"):
        train(config, tmp_path / "out", log=silent)
    assert not (tmp_path / "out" / "checkpoint" / "last.safetensors").exists()


def test_missing_root_is_said(tmp_path: Path):
    with pytest.raises(InputError, match=r"data\.root: no dataset folder given"):
        train(TrainConfig(), tmp_path, log=silent)


def test_pages_without_any_word_are_refused(tiny, tmp_path: Path, make_dataset):
    make_dataset(tmp_path / "data", split="train", pages=2, words=0)
    make_dataset(tmp_path / "data", split="val", pages=2)
    with pytest.raises(InputError, match="has no word on any page"):
        train(tiny({"data.root": tmp_path / "data"}), tmp_path / "out", log=silent)


def test_words_that_are_not_for_training_are_counted_before_it_begins(tiny, tmp_path: Path):
    lines: list[str] = []
    some = {"targets.min_side_px": 25.0, "train.epochs": 1}
    train(tiny(some), tmp_path / "some", log=lines.append)
    assert re.fullmatch(
        r"train: \d+ of 16 words are not for training: \d+ under targets\.min_side_px=25 px at "
        r"the size of pages here \(set data\.longest_side_px=\d+\)",
        lines[1],
    )
    with pytest.raises(InputError, match=r"split 'train': no word can be trained on: \d+ under"):
        train(tiny({"targets.min_side_px": 99.0}), tmp_path / "none", log=silent)
    assert not (tmp_path / "none").exists()


def test_a_page_that_breaks_later_is_named_and_counted(tiny, drawn_root: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(drawn_root, data)
    victim = sorted((data / "images" / "train").iterdir())[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) * 2 // 3])
    lines: list[str] = []
    last = train(tiny({"data.root": data, "train.epochs": 1}), tmp_path / "out", log=lines.append)
    assert last.epoch == 1
    assert any(line.startswith("skipped:") and victim.name in line for line in lines)
    assert last.metrics["skipped"] == 1
    assert "skipped pages: 1" in lines[-1]


def test_patience_ends_a_training_and_a_resume_agrees(tiny, tmp_path: Path):
    """With a rate of almost 0 nothing ever gets better than the first validation."""
    config = tiny({"train.epochs": 30, "train.patience": 2, "optimizer.lr": 1e-12})
    reports: list[EpochReport] = []
    last = train(config, tmp_path / "run", report=reports.append, log=silent)
    assert [r.finished for r in reports] == [False, False, True]
    assert (last.epoch, last.metrics["best_epoch"]) == (3, 1)
    again = train(config, tmp_path / "run", report=reports.append, resume=True, log=silent)
    assert (again.epoch, again.finished, len(reports)) == (3, True, 3)


def test_a_backbone_is_frozen_for_its_epochs_and_learns_afterwards(tiny, tmp_path: Path):
    def backbone(folder: Path) -> dict[str, torch.Tensor]:
        found = weights(folder)
        return {k: v for k, v in found.items() if k.startswith("model/backbone")}

    config = tiny({"optimizer.freeze_epochs": 2, "train.epochs": 3})
    kept = []
    train(config, tmp_path, report=lambda _: kept.append(backbone(tmp_path)), log=silent)
    first, second, third = kept
    assert all(torch.equal(first[k], second[k]) for k in first)
    changed = [k for k in first if not torch.equal(second[k], third[k])]
    assert len(changed) > len(first) / 2


def test_accumulated_parts_train_and_resume_exactly(tiny, tmp_path: Path):
    config = tiny({"train.accumulate": 2})
    train(config, tmp_path / "straight", log=silent)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", report=stop_after(1), log=silent)
    train(config, tmp_path / "stopped", resume=True, log=silent)
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


@pytest.mark.parametrize("changes", [{}, {"optimizer.name": "sgd"}])
def test_a_training_in_several_calls_is_the_one_in_a_single_call(
    tiny, tmp_path: Path, changes: dict
):
    """Weights, batch norm, average, optimizer, random state, scores and the best epoch."""
    config = tiny({"train.epochs": 4} | changes)
    straight = train(config, tmp_path / "straight", log=silent)
    reports: list[EpochReport] = []
    for until, epochs in ((1, [1]), (3, [2, 3])):
        reports.clear()
        last = train(
            config, tmp_path / "parts", report=reports.append, resume=True, until=until, log=silent
        )
        assert last == reports[-1]
        assert [(r.epoch, r.finished) for r in reports] == [(epoch, False) for epoch in epochs]
    torch.rand(7)  # whoever runs between the calls may draw
    last = train(config, tmp_path / "parts", resume=True, log=silent)
    assert (last.epoch, last.finished) == (4, True)
    one, parts = weights(tmp_path / "straight"), weights(tmp_path / "parts")
    assert {"rng/cpu", "optimizer/0/momentum_buffer" if changes else "optimizer/0/exp_avg"} <= {
        *one
    }
    assert any(name.startswith("ema/") and name.endswith("running_var") for name in one)
    assert one.keys() == parts.keys()
    assert [name for name in one if not torch.equal(one[name], parts[name])] == []
    best, others = read_best(tmp_path / "straight")[0], read_best(tmp_path / "parts")[0]
    assert all(torch.equal(best[name], others[name]) for name in best)
    assert last.page_hmeans == straight.page_hmeans
    timed = ("seconds", "latency_ms")
    figures, expected = (
        {k: v for k, v in r.metrics.items() if k not in timed} for r in (last, straight)
    )
    assert figures == expected
    assert last.tuned == straight.tuned


def test_a_training_that_is_as_far_as_it_should_go_is_left_alone(tiny, tmp_path: Path):
    config = tiny()
    first = train(config, tmp_path, until=2, log=silent)
    assert first.tuned.keys() == {"thresh", "shape", "unclip", "box_thresh"}
    before = weights(tmp_path)
    for until in (1, 2):
        reports: list[EpochReport] = []
        again = train(config, tmp_path, report=reports.append, resume=True, until=until, log=silent)
        assert (again.epoch, again.finished, again.metrics) == (2, False, first.metrics)
        assert again.tuned == first.tuned
        assert reports == []
    assert all(torch.equal(before[name], value) for name, value in weights(tmp_path).items())
    last = train(config, tmp_path, resume=True, until=30, log=silent)
    assert (last.epoch, last.finished) == (3, True)


@pytest.mark.parametrize(("until", "remedy"), [(0, 2), (-1, 2), (3, 4)])
def test_a_pause_without_a_validation_is_refused(tiny, tmp_path: Path, until: int, remedy: int):
    config = tiny({"train.epochs": 5, "train.eval_every": 2})
    message = rf"until: must be an epoch that is validated.* got {until}; use {remedy}, or"
    with pytest.raises(InputError, match=message):
        train(config, tmp_path, until=until, log=silent)
    assert list(tmp_path.iterdir()) == []


def test_a_curve_has_points_where_something_was_measured(tiny, tmp_path: Path):
    train(tiny({"train.epochs": 5, "train.eval_every": 2}), tmp_path, log=silent)
    events = EventAccumulator(str(tmp_path)).Reload()
    steps = {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["loss/total"] == [1, 2, 3, 4, 5]
    assert steps["cleval/hmean"] == steps["iou/hmean"] == [2, 4, 5]


class Narrow(Room):
    """A device that has no memory for two crops."""

    def on(self, device: torch.device) -> float:  # noqa: ARG002
        return 1.0


def test_a_training_takes_the_parts_that_fit_from_its_first_step(tiny, tmp_path: Path):
    said: list[str] = []
    values = {"train.epochs": 1, "train.batch_size": 4}
    train(tiny(values), tmp_path / "narrow", room=Narrow(), log=said.append)
    (line,) = [text for text in said if text.startswith("memory: ")]
    assert re.fullmatch(r"memory: a batch of 4 in 4 parts should take \d+\.\d of 0\.0 GB", line)
    train(tiny(values | {"train.accumulate": 4}), tmp_path / "told", log=said.append)
    assert sum(text.startswith("memory: ") for text in said) == 1  # a CPU has no room to know of
    narrow, told = weights(tmp_path / "narrow"), weights(tmp_path / "told")
    assert [key for key in told if not torch.equal(narrow[key], told[key])] == []
