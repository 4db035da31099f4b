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
from detector.model.weights import PACKAGES
from orchestrator.space.files import read_space_file
from orchestrator.space.search_space import SearchSpace, load_space

FOLDER = Path(str(resources.files("search_spaces")))
FILES = sorted(FOLDER.rglob("*.y*ml"))
NAMES = [path.stem for path in FILES]
CONTEST = ["resnet18", "efficientnet_b0", "efficientnet_b5", "convnext_tiny", "convnext_base"]


def load(name: str, *, gpu: bool, data: bool) -> SearchSpace:
    return load_space(name, gpu=gpu, overrides={"data.root": "receipts"} if data else {})


def test_the_seven_spaces_are_shipped() -> None:
    assert ", ".join(NAMES) == (
        "ablation, ablation_augment, dbnet, dbnetpp, published, receipts, smoke"
    )


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
    assert {"hrnet_w18", "hrnet_w44"} <= set(backbones)
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
    first, best, whole = load("dbnetpp", gpu=True, data=True).warm_start
    assert whole["train.init"] == "ppocrv6_small"
    assert first["model.backbone"] == "resnet18"
    assert first["postprocess.box_thresh"] == 0.4
    assert first["postprocess.max_candidates"] == 300
    assert (first["loss.negative_ratio"], first["loss.threshold_weight"]) == (3.0, 10.0)
    assert best["model.backbone"] == "convnext_base"
    assert best["postprocess.box_thresh"] == 0.47
    assert best["postprocess.max_candidates"] == 500
    assert (best["loss.negative_ratio"], best["loss.threshold_weight"]) == (3.5, 12.0)
    assert (best["loss.probability_weight"], best["loss.binary_weight"]) == (5.0, 1.0)


def test_the_first_cpu_trials_on_real_data_are_the_verified_recipes() -> None:
    space = load("dbnetpp", gpu=False, data=True)
    whole, plain = (space.train_config(point) for point in space.warm_start[:2])
    assert (whole.train.init, whole.optimizer.lr) == ("ppocrv6_small", 5e-4)
    config = plain
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
    starts = {(point["train.init"], point.get("model.backbone")) for point in space.warm_start}
    assert starts == {("ppocrv6_small", None), ("none", "tf_efficientnet_lite0")}


# U's: backbone, DBNet++, cropped, negative ratio, threshold weight, polygons, box_thresh,
# candidates, then H-mean, precision and recall as published.
TABLE = [
    ("resnet18", False, False, 3.0, 10.0, False, 0.4, 300, 0.8818, 0.9651, 0.8194),
    ("efficientnet_b0", False, False, 3.0, 10.0, False, 0.4, 300, 0.9084, 0.9665, 0.8631),
    ("convnext_tiny", False, False, 3.0, 10.0, False, 0.4, 300, 0.9084, 0.9665, 0.8631),
    ("convnext_tiny", False, False, 3.0, 10.0, True, 0.5, 300, 0.9756, 0.9762, 0.9761),
    ("convnext_tiny", False, False, 3.0, 12.0, True, 0.5, 300, 0.9775, 0.9791, 0.9767),
    ("convnext_tiny", True, True, 3.0, 12.0, True, 0.5, 300, 0.9783, 0.9795, 0.9782),
    ("convnext_tiny", True, True, 3.5, 12.0, True, 0.47, 500, 0.9835, 0.9842, 0.9832),
]
# The other entries': what a row begins with, backbone, longest side, batch, thresh, box_thresh,
# growth, then the three figures.
OTHERS = [
    ("P V1", "resnet18", 640, 16, 0.3, 0.25, 1.5, 0.9185, 0.9511, 0.8932),
    ("P V2:", "resnet18", 896, 16, 0.3, 0.25, 1.5, 0.9603, 0.9667, 0.9556),
    ("P V2B", "resnet18", 1024, 16, 0.3, 0.25, 1.5, 0.9621, 0.9754, 0.9520),
    ("J 01", "resnet18", 640, 16, 0.25, 0.3, 1.5, 0.9248, 0.9476, 0.9064),
    ("J 55", "hrnet_w44", 1024, 4, 0.22, 0.4, 2.0, 0.9863, 0.9888, 0.9844),
    ("O4: DBNet, R", "resnet18", 640, 16, 0.3, 0.4, 2.0, 0.9529, 0.9784, 0.9315),
    ("O4: DBNet, H", "hrnet_w18", 640, 16, 0.3, 0.4, 2.0, 0.9643, 0.9823, 0.9492),
    ("O4: DBNet++", "hrnet_w18", 640, 16, 0.2, 0.4, 1.8, 0.9792, 0.9820, 0.9774),
    ("O4: HRNet", "hrnet_w44", 1024, 2, 0.231, 0.4324, 1.977, 0.9845, 0.9851, 0.9845),
    ("O4: also b", "hrnet_w44", 1024, 2, 0.231, 0.4324, 1.977, 0.9870, 0.9869, 0.9874),
    ("O4: also t", "hrnet_w44", 1024, 2, 0.15, 0.4, 1.31, 0.9886, 0.9886, 0.9888),
    ("K V07", "resnet18", 1280, 8, 0.3, 0.4, 2.0, 0.9785, 0.9867, 0.9717),
    ("K V11", "hrnet_w48", 1280, 2, 0.3, 0.4, 2.0, 0.9768, 0.9890, 0.9665),
    ("K V13", "hrnet_w44", 1280, 2, 0.15, 0.4, 1.31, 0.9891, 0.9893, 0.9891),
    ("K V14", "convnext_base", 1280, 2, 0.15, 0.4, 1.31, 0.9875, 0.9881, 0.9873),
]


def settings_of(row: tuple[Any, ...], backbone: str) -> dict[str, Any]:
    _, fused, cropped, negatives, weight, polygons, box_thresh, candidates, *_ = row
    return {
        "data.longest_side_px": 640,
        "preprocess.crop": cropped,
        "augment.brightness": 0.0,
        "model.backbone": backbone,
        "model.neck": "unet",
        "model.fusion": "scale_spatial" if fused else "none",
        "loss.negative_ratio": negatives,
        "loss.probability_weight": 5.0,
        "loss.threshold_weight": weight,
        "loss.binary_weight": 1.0,
        "optimizer.lr": 1e-3,
        "optimizer.weight_decay": 1e-4,
        "optimizer.schedule": "constant",
        "train.batch_size": 8,
        "postprocess.shape": "polygon" if polygons else "quad",
        "postprocess.unclip_ratio": 2.0 if polygons else 1.5,
        "postprocess.min_side_px": 5.0 if polygons else 9.0,
        "postprocess.thresh": 0.3,
        "postprocess.box_thresh": box_thresh,
        "postprocess.max_candidates": candidates,
    }


def figures_of(space: SearchSpace) -> list[tuple[float, ...]]:
    return [(row.hmean, row.precision, row.recall) for row in space.published]


def test_published_holds_the_first_winners_table() -> None:
    space = load("published", gpu=True, data=True)
    own = [row for row in space.published if row.row.startswith("U: ")]
    assert [row.point | settings_of(t, t[0]) for row, t in zip(own, TABLE, strict=True)] == [
        row.point for row in own
    ]
    assert figures_of(space)[: len(own)] == [row[-3:] for row in TABLE]
    assert space.warm_start == tuple(row.point for row in space.published)


def test_published_holds_the_tables_of_four_other_entries() -> None:
    space = load("published", gpu=True, data=True)
    others = space.published[len(TABLE) :]
    assert figures_of(space)[len(TABLE) :] == [row[-3:] for row in OTHERS]
    keys = ("model.backbone", "data.longest_side_px", "train.batch_size", "postprocess.thresh")
    keys += ("postprocess.box_thresh", "postprocess.unclip_ratio")
    for row, (begin, *told) in zip(others, OTHERS, strict=True):
        assert row.row.startswith(begin)
        assert [row.point[key] for key in keys] == told[:-3]
        polygons = row.point["postprocess.unclip_ratio"] != 1.5
        assert row.point["postprocess.shape"] == ("polygon" if polygons else "quad")


def test_published_on_a_cpu_says_what_each_row_was_published_with() -> None:
    space = load("published", gpu=False, data=True)
    light = {name: "tf_efficientnet_lite0" for name in ("efficientnet_b0", "convnext_tiny")}
    light |= {"resnet18": "mobilenetv3_small_100"}
    for row, published in zip(TABLE, space.published, strict=False):
        assert published.point | settings_of(row, light[row[0]]) == published.point
        assert published.row.endswith(f"(published with {row[0]})")
    best = [row.row[:5].rstrip(":") for row in space.published[len(TABLE) :]]
    assert best == ["J 55", "O4: a", "K V13"]
    assert all(row.row.endswith(")") for row in space.published)
    # The second and the third row differ in the backbone alone.
    assert len(space.warm_start) == len(space.published) - 1


@pytest.mark.parametrize("data", [True, False], ids=["data", "demo"])
@pytest.mark.parametrize("gpu", [True, False], ids=["gpu", "cpu"])
def test_published_runs_its_rows_and_stops_none_early(gpu: bool, data: bool) -> None:
    space = load("published", gpu=gpu, data=data)
    assert space.budget.trials == len(space.warm_start)
    assert (space.budget.epochs, space.budget.grace_epochs) == (10, 10)


def test_published_fixes_what_no_entry_varies() -> None:
    space = load("published", gpu=True, data=True)
    entry = {
        "augment.crop_px": 0,
        "augment.flip": 0.5,
        "model.neck_channels": 256,
        "optimizer.backbone_lr_ratio": 1.0,
        "optimizer.warmup_epochs": 0,
    }
    assert {key: space.fixed[key] for key in entry} == entry


def test_receipts_begins_with_the_best_of_each_entry() -> None:
    """As published has them, but for what the space fixes or a CPU cannot."""
    space, table = (load(name, gpu=True, data=True) for name in ("receipts", "published"))
    best = {row.row[:2]: row.point for row in sorted(table.published, key=lambda row: row.hmean)}
    begun = dict(zip(("K ", "O4", "J ", "U:", "P "), space.warm_start, strict=True))
    given = {"data.longest_side_px", "model.backbone", "train.batch_size"}  # of U and P, see there
    for entry, point in begun.items():
        shared = point.keys() & best[entry].keys() - (given if entry in ("U:", "P ") else set())
        assert len(shared) >= 14
        assert {k: point[k] for k in shared} == {k: best[entry][k] for k in shared}
        assert point["augment.crop_px"] == 0


def test_receipts_searches_what_moved_the_entries() -> None:
    space = load("receipts", gpu=True, data=True)
    assert set(space.parameters["data.longest_side_px"].values) == {1024, 1280}
    assert min(space.parameters["postprocess.thresh"].values) == 0.1
    assert space.parameters["postprocess.box_thresh"].values[0] == 0.2
    assert {"hrnet_w18", "hrnet_w44"} <= set(space.parameters["model.backbone"].values)
    assert set(space.parameters["train.batch_size"].values) == {2, 4, 8}


def test_a_cpu_searches_the_lite_models_that_have_packages() -> None:
    choice = load("dbnetpp", gpu=False, data=True).parameters["model.backbone"].values
    assert set(PACKAGES) <= set(choice)


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
