"""Every shipped space, on every kind of machine, with and without data."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import optuna
import pytest
import timm

from detector.config import with_values
from orchestrator.space import SearchSpace, load_space
from orchestrator.space_file import read_space_file

FOLDER = Path(str(resources.files("search_spaces")))
FILES = sorted(FOLDER.rglob("*.y*ml"))
NAMES = [path.stem for path in FILES]
CONTEST = ["resnet18", "efficientnet_b0", "efficientnet_b5", "convnext_tiny", "convnext_base"]


def load(name: str, *, gpu: bool, data: bool) -> SearchSpace:
    return load_space(name, gpu=gpu, overrides={"data.root": "receipts"} if data else {})


def test_the_four_spaces_are_shipped() -> None:
    assert NAMES == ["ablation", "dbnet", "dbnetpp", "smoke"]


@pytest.mark.parametrize("data", [True, False], ids=["data", "demo"])
@pytest.mark.parametrize("gpu", [True, False], ids=["gpu", "cpu"])
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_space_works(name: str, gpu: bool, data: bool) -> None:
    space = load(name, gpu=gpu, data=data)
    assert space.demo is not data
    assert space.description
    assert space.notes == ()
    assert space.warm_start
    for point in space.warm_start:
        assert set(point) == set(space.active(point)), "a shipped warm start is a full point"
        assert space.train_config(point).train.epochs == space.budget.epochs
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        space.train_config(space.suggest(study.ask()))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_shipped_space_survives_being_resolved_and_read_again(path: Path, tmp_path: Path) -> None:
    space = load_space(path.stem, gpu=False)
    copy = tmp_path / "copy.yaml"
    copy.write_text(space.to_yaml(), encoding="utf-8")
    assert load_space(str(copy), gpu=True) == space


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_every_searched_setting_has_its_reason(path: Path) -> None:
    """A comment on the key's line, on one of the lines below it, or just above."""
    lines = path.read_text(encoding="utf-8").splitlines()
    file = read_space_file(path)
    for key in file.content["parameters"]:
        start = file.lines["parameters", key] - 1
        block = [lines[start]]
        for line in lines[start + 1 :]:
            if not re.match(r" {4,}", line):
                break
            block.append(line)
        assert any("#" in line for line in block), f"{path.name}: {key}"


def test_dbnetpp_searches_what_the_contest_entry_tuned() -> None:
    space = load("dbnetpp", gpu=True, data=True)
    backbones = space.parameters["model.backbone"].values
    assert set(CONTEST) <= set(backbones)
    assert any("efficientnetv2" in name for name in backbones)
    assert all(timm.is_model(name) for name in backbones)
    assert {
        "postprocess.box_thresh",
        "postprocess.max_candidates",
        "loss.negative_ratio",
        "loss.probability_weight",
        "loss.threshold_weight",
        "loss.binary_weight",
        "optimizer.lr",
        "model.fusion",
    } <= space.parameters.keys()
    assert "none" not in space.parameters["model.fusion"].values


def test_dbnetpp_starts_from_the_contest_entrys_path() -> None:
    first, best = load("dbnetpp", gpu=True, data=True).warm_start
    assert first["model.backbone"] == "resnet18"
    assert first["postprocess.box_thresh"] == 0.4
    assert first["postprocess.max_candidates"] == 300
    assert (first["loss.negative_ratio"], first["loss.threshold_weight"]) == (3.0, 10.0)
    assert best["model.backbone"] == "convnext_base"
    assert best["postprocess.box_thresh"] == 0.47
    assert best["postprocess.max_candidates"] == 500
    assert (best["loss.negative_ratio"], best["loss.threshold_weight"]) == (3.5, 12.0)
    assert (best["loss.probability_weight"], best["loss.binary_weight"]) == (5.0, 1.0)


def test_the_first_cpu_trial_on_real_data_is_the_verified_recipe() -> None:
    space = load("dbnetpp", gpu=False, data=True)
    config = space.train_config(space.warm_start[0])
    recipe = {
        "data.longest_side_px": 1024,
        "augment.crop_px": 480,
        "augment.scale_min": 0.6,
        "augment.scale_max": 1.5,
        "model.backbone": "tf_efficientnet_lite0",
        "model.weights": "auto",
        "model.neck_channels": 96,
        "optimizer.name": "adamw",
        "optimizer.lr": 2e-3,
        "optimizer.backbone_lr_ratio": 0.5,
        "optimizer.schedule": "cosine",
        "train.batch_size": 4,
        "postprocess.unclip_ratio": 1.6,
    }
    assert with_values(config, recipe) == config


def test_dbnet_has_no_attention_and_otherwise_the_setting_of_dbnetpp() -> None:
    for gpu in (True, False):
        plain, attentive = (load(name, gpu=gpu, data=True) for name in ("dbnet", "dbnetpp"))
        assert plain.fixed["model.fusion"] == "none"
        shared = plain.fixed.keys() & attentive.fixed.keys()
        assert {k: plain.fixed[k] for k in shared} == {k: attentive.fixed[k] for k in shared}


def test_smoke_is_two_tiny_trials_that_need_no_network() -> None:
    space = load("smoke", gpu=False, data=False)
    assert (space.budget.trials, len(space.warm_start)) == (2, 2)
    assert space.budget.epochs <= 2
    for point in space.warm_start:
        from_package = point["model.backbone"] == "tf_efficientnet_lite0"
        assert from_package or point["model.weights"] == "none"


def test_backbones_of_the_cpu_demo_start_from_weights_in_the_package() -> None:
    space = load("dbnetpp", gpu=False, data=False)
    assert {point["model.backbone"] for point in space.warm_start} == {"tf_efficientnet_lite0"}
