from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.budget import BudgetConfig
from orchestrator.space.first_weights import scratch_note
from orchestrator.space.search_space import SearchSpace, load_space

OFFLINE = "HF_HUB_OFFLINE is set and the weights are not in the local cache"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with no network and nothing in the cache; lite0 is installed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def load(folder: Path, text: str, **options: object) -> SearchSpace:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path), **{"gpu": True, **options})  # type: ignore[arg-type]


def test_backbones_without_weights_are_told_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    names = "resnet18, fsnet_s, tf_efficientnet_lite0, resnet50"
    space = load(tmp_path, f"parameters:\n  model.backbone: {{choice: [{names}]}}\n")
    assert scratch_note(space) == (
        "trials with these backbones start from scratch\n"
        "  fsnet_s: no published weights fit it\n"
        f"  resnet18, resnet50: {OFFLINE}\n"
        "  search.narrow.model.backbone=[tf_efficientnet_lite0] searches only those with weights"
    )


def test_one_backbone_without_weights_has_no_other_to_narrow_to(tmp_path: Path) -> None:
    text = "fixed: {model.backbone: resnet18}\nparameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
    assert scratch_note(load(tmp_path, text)) == (
        f"trials with these backbones start from scratch\n  resnet18: {OFFLINE}"
    )


def test_nothing_is_said_where_all_have_weights_or_ask_for_none(tmp_path: Path) -> None:
    lr = "optimizer.lr: {uniform: [0.1, 0.2]}"
    for fixed in (
        "{model.backbone: tf_efficientnet_lite0}",
        "{model.backbone: resnet18, model.weights: none}",
        "{model.backbone: resnet18, model.weights: weights.pth}",
    ):
        assert scratch_note(load(tmp_path, f"fixed: {fixed}\nparameters: {{{lr}}}\n")) is None


def test_only_what_trials_may_have_counts() -> None:
    """Smoke is its two warm starts, of which the one without a package asks for no weights."""
    assert scratch_note(load_space("smoke", gpu=False)) is None
    note = scratch_note(load_space("smoke", gpu=False, budget=BudgetConfig(trials=3)))
    assert note is not None
    assert "mobilenetv3_small_100: " in note


def test_backbones_of_trials_that_begin_as_a_whole_detector_are_none(tmp_path: Path) -> None:
    lr = "optimizer.lr: {uniform: [0.1, 0.2]}"
    text = f"fixed: {{train.init: ppocrv6_small}}\nparameters: {{{lr}}}\n"
    assert scratch_note(load(tmp_path, text)) is None
    both = (
        "parameters:\n  train.init: {choice: [none, ppocrv6_small]}\n"
        "  model.backbone: {choice: [tf_efficientnet_lite0, resnet18], when: {train.init: none}}\n"
        "warm_start:\n  - {train.init: ppocrv6_small}\n"
        "  - {train.init: none, model.backbone: tf_efficientnet_lite0}\n"
    )
    assert scratch_note(load(tmp_path, both, budget=BudgetConfig(trials=2))) is None
    assert "resnet18: " in str(scratch_note(load(tmp_path, both, budget=BudgetConfig(trials=3))))
