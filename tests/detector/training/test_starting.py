"""Trainings that begin as whole detectors: kept, resumed, repeated, exported and recorded."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from onnx_graphs import detector_file
from onnx_graphs import weights as numbers
from safetensors.torch import load_file

from detector.config.inference import Replaced
from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.export import ExportSettings
from detector.export import main as export_main
from detector.inference.detector import load_detector
from detector.training.epoch_end import EpochReport
from detector.training.reproduction import reproduce
from detector.training.step_cost import forward_flops, held_bytes, predicted_bytes, step_cost
from detector.training.storage.provenance import read_record
from detector.training.trainer import train

WITHOUT = importlib.util.find_spec("rapidocr") is None
pytest.importorskip("onnx", reason="needs the extra onnx")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return detector_file(tmp_path / "start.onnx")


@pytest.fixture
def config(tiny: Callable[..., TrainConfig], start: Path) -> TrainConfig:
    return tiny({"train.init": str(start), "train.epochs": 2})


def stop(_: EpochReport) -> None:
    raise KeyboardInterrupt


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint" / "last.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer.layer_decay": 0.5, "optimizer.freeze_epochs": 1},
        {"train.amp": "bf16", "train.channels_last": True, "optimizer.ema_decay": 0.0},
    ],
)
def test_it_goes_on_without_the_file_that_it_began_as(
    config: TrainConfig, start: Path, tmp_path: Path, changes: dict
):
    config = with_values(config, changes)
    said: list[str] = []
    train(config, tmp_path / "straight", log=said.append)
    assert any(line.endswith("; new: threshold (14 tensors)") for line in said)
    told = "train.init: the network is start as it is, so of model.* only step_k is used"
    assert said.count(told) == 1
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", report=stop, log=said.append)
    start.unlink()
    train(config, tmp_path / "stopped", resume=True, log=said.append)
    straight, stopped = weights(tmp_path / "straight"), weights(tmp_path / "stopped")
    assert straight.keys() == stopped.keys()
    assert [k for k in straight if not torch.equal(straight[k], stopped[k])] == []


def test_a_frozen_backbone_is_the_graph_up_to_the_head(config: TrainConfig, tmp_path: Path):
    frozen = with_values(config, {"optimizer.backbone_lr_ratio": 0.0, "optimizer.ema_decay": 0.0})
    train(frozen, tmp_path / "a", log=lambda _: None)
    after, before = weights(tmp_path / "a"), _first(frozen)
    same = {k for k, v in before.items() if torch.equal(v, after[f"model/{k}"])}
    assert same == {k for k in before if k.startswith("backbone.")}


def _first(config: TrainConfig) -> dict[str, torch.Tensor]:
    from detector.inference.networks import find_start, new_model

    return dict(find_start(new_model(config), config.train.init).tensors)


def test_it_is_repeated_from_where_the_file_lies_now(
    config: TrainConfig, start: Path, tmp_path: Path
):
    train(config, tmp_path / "a", log=lambda _: None)
    moved = start.rename(tmp_path / "moved.onnx")
    done = reproduce(tmp_path / "a", {"train.init": str(moved)}, tmp_path / "b")
    assert done.verdict.startswith("reproduced: ")
    path = detector_file(tmp_path / "other.onnx", constants={"stem": numbers(99, 4, 3, 3, 3)})
    with pytest.raises(InputError, match=r"train\.init: .* in the record, .* now"):
        reproduce(tmp_path / "a", {"train.init": str(path)}, tmp_path / "c")


def test_a_start_of_ours_is_recorded_too(trained: Path, tiny: Callable[..., TrainConfig], tmp_path):
    said: list[str] = []
    on = tiny({"train.init": str(trained), "train.epochs": 1, "optimizer.lr": 1e-9})
    last = train(on, tmp_path / "on", log=said.append)
    assert any(
        line.startswith(f"{trained / 'checkpoint/best/model.safetensors'}: ") for line in said
    )
    assert not any("only step_k" in line for line in said)
    record = read_record(tmp_path / "on")
    assert record.weights.source.endswith("tensors are taken; new: nothing")
    assert not record.weights.scratch
    before, after = (load_detector(p, device="cpu")[0] for p in (trained, last.checkpoint / "best"))
    pairs = zip(before.model.parameters(), after.model.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-6


def test_it_is_exported_again_with_its_name(config: TrainConfig, tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    train(config, tmp_path / "a", log=lambda _: None)
    settings = {"checkpoint": tmp_path / "a", "output": tmp_path / "m.onnx"}
    assert export_main(ExportSettings(**settings, **Replaced().model_dump(exclude_unset=True))) == 0
    model = onnx.load(tmp_path / "m.onnx")
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about["backbone"] == "start"
    assert about["origin"] == {"source": "the file start.onnx", "licence": ""}
    assert "init" not in about["config"]["train"]
    detector, kept = load_detector(tmp_path / "m.onnx")
    assert kept.train.init == "none"
    assert detector.preprocess.mean == pytest.approx((0.485, 0.456, 0.406))


def test_its_step_is_counted_and_measured(config: TrainConfig, tiny: Callable[..., TrainConfig]):
    plain = tiny({"train.init": "none"})
    assert forward_flops(config) != forward_flops(plain)
    # By hand: two 3 x 3 convolutions of the stem, and two branches.
    macs = 32 * 32 * 4 * 27 + 16 * 16 * 8 * 36
    macs += 16 * 16 * 4 * 72 + 16 * 16 * 4 * 16 + 32 * 32 * 4 * 4
    macs += 16 * 16 * 2 * 72 + 16 * 16 * 2 * 2 * 4 + 32 * 32 * 2 * 4
    assert forward_flops(config) == 2 * macs
    assert predicted_bytes(config, training=True) > held_bytes(config) > 0
    assert step_cost(config).seconds > 0


@pytest.mark.skipif(WITHOUT, reason="needs the extra ppocr")
def test_ppocr_learns_and_its_licence_is_recorded(tiny: Callable[..., TrainConfig], tmp_path: Path):
    config = tiny({"train.init": "ppocrv6_small", "train.epochs": 1})
    last = train(config, tmp_path / "a", log=lambda _: None)
    record = read_record(tmp_path / "a")
    assert record.weights.licence == "Apache-2.0"
    assert record.weights.source.startswith("ppocrv6_small: PP-OCRv6 small of PaddleOCR, from the")
    assert last.metrics["params_m"] == pytest.approx(2.48, abs=0.01)
