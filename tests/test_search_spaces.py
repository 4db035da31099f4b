"""Every shipped space, on every kind of machine, with and without data."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import optuna
import pytest
import timm

from detector.config.settings import with_values
from orchestrator.space.files import read_space_file
from orchestrator.space.search_space import SearchSpace, load_space

FOLDER = Path(str(resources.files("search_spaces")))
FILES = sorted(FOLDER.rglob("*.y*ml"))
NAMES = [path.stem for path in FILES]
CONTEST = ["resnet18", "efficientnet_b0", "efficientnet_b5", "convnext_tiny", "convnext_base"]


def load(name: str, *, gpu: bool, data: bool) -> SearchSpace:
    return load_space(name, gpu=gpu, overrides={"data.root": "receipts"} if data else {})


def test_the_six_spaces_are_shipped() -> None:
    assert NAMES == ["ablation", "ablation_augment", "dbnet", "dbnetpp", "published", "smoke"]


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


# backbone, DBNet++, cropped, negative ratio, threshold weight, polygons, box_thresh, candidates,
# then H-mean, precision and recall as published.
TABLE = [
    ("resnet18", False, False, 3.0, 10.0, False, 0.4, 300, 0.8818, 0.9651, 0.8194),
    ("efficientnet_b0", False, False, 3.0, 10.0, False, 0.4, 300, 0.9084, 0.9665, 0.8631),
    ("convnext_tiny", False, False, 3.0, 10.0, False, 0.4, 300, 0.9084, 0.9665, 0.8631),
    ("convnext_tiny", False, False, 3.0, 10.0, True, 0.5, 300, 0.9756, 0.9762, 0.9761),
    ("convnext_tiny", False, False, 3.0, 12.0, True, 0.5, 300, 0.9775, 0.9791, 0.9767),
    ("convnext_tiny", True, True, 3.0, 12.0, True, 0.5, 300, 0.9783, 0.9795, 0.9782),
    ("convnext_tiny", True, True, 3.5, 12.0, True, 0.47, 500, 0.9835, 0.9842, 0.9832),
]


def point_of(row: tuple[Any, ...], backbone: str) -> dict[str, Any]:
    _, fused, cropped, negatives, weight, polygons, box_thresh, candidates, *_ = row
    return {
        "model.backbone": backbone,
        "model.fusion": "scale_spatial" if fused else "none",
        "preprocess.crop": cropped,
        "loss.negative_ratio": negatives,
        "loss.threshold_weight": weight,
        "postprocess.shape": "polygon" if polygons else "quad",
        "postprocess.unclip_ratio": 2.0 if polygons else 1.5,
        "postprocess.min_side_px": 5.0 if polygons else 9.0,
        "postprocess.box_thresh": box_thresh,
        "postprocess.max_candidates": candidates,
    }


def test_published_holds_the_published_table() -> None:
    space = load("published", gpu=True, data=True)
    assert [row.point for row in space.published] == [point_of(row, row[0]) for row in TABLE]
    figures = [(row.hmean, row.precision, row.recall) for row in space.published]
    assert figures == [row[-3:] for row in TABLE]
    assert space.warm_start == tuple(row.point for row in space.published)


def test_published_on_a_cpu_says_what_each_row_was_published_with() -> None:
    space = load("published", gpu=False, data=True)
    light = {name: "tf_efficientnet_lite0" for name in ("efficientnet_b0", "convnext_tiny")}
    light |= {"resnet18": "mobilenetv3_small_100"}
    assert [row.point for row in space.published] == [point_of(r, light[r[0]]) for r in TABLE]
    for row, published in zip(TABLE, space.published, strict=True):
        assert published.row.endswith(f"(published with {row[0]})")
    # The second and the third row differ in the backbone alone.
    assert len(space.warm_start) == len(TABLE) - 1


@pytest.mark.parametrize("data", [True, False], ids=["data", "demo"])
@pytest.mark.parametrize("gpu", [True, False], ids=["gpu", "cpu"])
def test_published_runs_its_rows_and_stops_none_early(gpu: bool, data: bool) -> None:
    space = load("published", gpu=gpu, data=data)
    assert space.budget.trials == len(space.warm_start)
    assert (space.budget.epochs, space.budget.grace_epochs) == (10, 10)


def test_published_fixes_the_settings_of_the_entry() -> None:
    space = load("published", gpu=True, data=True)
    entry = {
        "data.longest_side_px": 640,
        "augment.crop_px": 0,
        "augment.flip": 0.5,
        "model.neck": "unet",
        "loss.probability_weight": 5.0,
        "loss.binary_weight": 1.0,
        "optimizer.lr": 1e-3,
        "optimizer.weight_decay": 1e-4,
        "optimizer.schedule": "constant",
        "postprocess.thresh": 0.3,
    }
    assert {key: space.fixed[key] for key in entry} == entry


def test_each_augmentation_is_tried_alone_beside_the_recipe() -> None:
    space = load("ablation_augment", gpu=False, data=True)
    recipe, *others = (space.train_config(point) for point in space.warm_start)
    assert recipe == load("ablation", gpu=False, data=True).train_config(
        load("ablation", gpu=False, data=True).warm_start[0]
    )
    changed = [
        {
            key
            for key, value in other.augment.model_dump().items()
            if value != getattr(recipe.augment, key)
        }
        for other in others
    ]
    assert changed == [{"shadow"}, {"blur"}, {"noise"}, {"jpeg"}, {"gamma"}, {"paste"}]
    assert all(other.model_copy(update={"augment": recipe.augment}) == recipe for other in others)
    assert space.budget.trials == len(space.warm_start)
    assert space.budget.grace_epochs == space.budget.epochs
