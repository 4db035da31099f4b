from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detector.config.settings import ModelConfig, TrainConfig, network_name
from detector.core.errors import InputError
from detector.inference.checkpoint import save_best
from detector.inference.networks import new_model
from detector.training.step_cost import StepCost
from orchestrator.place.cost import (
    check_starts,
    estimate,
    example,
    largest,
    measured_apart,
    measured_largest,
    most_bytes,
    networks,
    sizes,
)
from orchestrator.place.work import flops
from orchestrator.space.search_space import SearchSpace, load_space

SPACE = """\
fixed: {train.batch_size: 4, augment.crop_px: 64, model.neck_channels: 16}
parameters:
  model.backbone: {choice: [mobilenetv3_small_050, resnet18]}
  optimizer.lr: {uniform: [0.001, 0.002]}
  loss.negative_ratio: {uniform: [1.0, 2.0], when: {model.backbone: resnet18}}
budget: {trials: 7, epochs: 5, grace_epochs: 1, reduction_factor: 2}
"""


@pytest.fixture
def space(tmp_path: Path) -> SearchSpace:
    (tmp_path / "s.yaml").write_text(SPACE)
    return load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})


def test_the_cost_by_hand(space: SearchSpace):
    seen = []

    def measure(configs):
        seen.extend(configs)
        return [StepCost(0.5), StepCost(2.0)]

    cost = estimate(space, pages=10, at_once=2, measure=measure)
    assert [c.model.backbone for c in seen] == networks(space)
    assert seen[1].loss.negative_ratio == 1.0
    # 10 pages in batches of 4 are 3 steps; 7 trials, two at once, take 4 rounds, so at most
    # 4 * 5 * 3 steps of 2 seconds.
    assert cost == (
        "cost: 7 trials x 5 epochs x 3 steps, 2 at once; a step takes mobilenetv3_small_050 "
        "0.50 s, resnet18 2.00 s: at most 2m 00s of training, without validation and with no "
        "trial stopped early"
    )


def test_the_sizes_of_networks_are_those_of_their_tensors(space: SearchSpace):
    found = sizes(space)
    assert list(found) == networks(space)
    model = new_model(example(space, "resnet18"))
    tensors = [*model.parameters(), *model.buffers()]
    assert found["resnet18"] == sum(t.numel() * t.element_size() for t in tensors)
    assert found["mobilenetv3_small_050"] < found["resnet18"]


def test_trials_on_one_gpu_may_have_to_wait_for_each_other(space: SearchSpace):
    def measure(configs):
        return [StepCost(2.0) for _ in configs]

    # Two rounds of 5 * 3 steps, each as long as two of 2 seconds.
    cost = estimate(space, pages=10, at_once=4, measure=measure, sharing=2)
    assert "4 at once, 2 on a GPU; a step takes " in cost
    assert "resnet18 2.00 s: at most 2m 00s" in cost


def taken(config: TrainConfig, page_px: int = 736) -> int:
    """Bytes of an invented network, of crops and more of them with a U-Net."""
    side, model = config.augment.crop_px or page_px, config.model
    return side**2 * config.train.batch_size * model.neck_channels * (1 + (model.neck == "unet"))


def test_choices_are_tried_and_the_larger_one_is_taken(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(
        "parameters:\n"
        "  model.neck: {choice: [fpn, unet]}\n"
        "  loss.negative_ratio: {uniform: [1.5, 2.0], when: {model.neck: unet}}\n"
        "warm_start: [{model.neck: fpn}]\n"
    )
    space = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})
    config = largest(space, "resnet18", taken)
    assert (config.model.neck, config.loss.negative_ratio) == ("unet", 1.5)


def test_the_largest_training_has_the_most_of_what_needs_memory(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(
        "parameters:\n"
        "  train.batch_size: {choice: [4, 8, 2]}\n"
        "  augment.crop_px: {choice: [64, 0, 96]}\n"
        "  model.neck_channels: {int: [16, 64], step: 16}\n"
        "  optimizer.lr: {uniform: [0.001, 0.002]}\n"
        "warm_start: [{train.batch_size: 2, augment.crop_px: 64, model.neck_channels: 16,"
        " optimizer.lr: 0.002}]\n"
    )
    space = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})
    config = largest(space, "resnet18", taken)
    assert (config.train.batch_size, config.augment.crop_px) == (8, 0)  # 0 is a whole page
    assert largest(space, "resnet18", lambda c: taken(c, page_px=80)).augment.crop_px == 96
    assert (config.model.neck_channels, config.optimizer.lr) == (64, 0.002)


def test_sizes_of_pages_can_be_searched_and_the_largest_is_known(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(
        "extends: dbnet\n"
        "parameters:\n"
        "  data.longest_side_px: {choice: [640, 1280, 960]}\n"
        "  preprocess.shortest_side_px: {choice: [480, null]}\n"
        "  preprocess.test_scale: {choice: [1.0, 1.25, 0.75]}\n"
        "  preprocess.crop: {choice: [false, true]}\n"
        "warm_start: [{data.longest_side_px: 640, preprocess.shortest_side_px: 480,"
        " preprocess.test_scale: 1.0, preprocess.crop: false}]\n"
    )
    space = load_space(str(tmp_path / "s.yaml"), gpu=True, overrides={"data.root": str(tmp_path)})
    config = largest(space, "resnet18", most_bytes)
    assert (config.data.longest_side_px, config.preprocess.shortest_side_px) == (1280, None)
    assert config.preprocess.test_scale == 1.25
    demo = load_space(str(tmp_path / "s.yaml"), gpu=True)
    assert set(demo.parameters) == set(space.parameters) - {"data.longest_side_px"}
    assert example(demo, "resnet18").data.longest_side_px == 640
    # Crops have one size whatever that of pages is, so that an epoch costs the same.
    assert flops(config) == flops(example(space, "resnet18"))


def test_a_setting_of_the_largest_size_alone_is_there_too(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(
        "parameters:\n"
        "  augment.crop_px: {choice: [64, 96]}\n"
        "  loss.negative_ratio: {uniform: [1.5, 2.0], when: {augment.crop_px: 96}}\n"
    )
    space = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})
    config = largest(space, "resnet18", taken)
    assert (config.augment.crop_px, config.loss.negative_ratio) == (96, 1.5)


def test_a_fixed_backbone_is_the_only_one(tmp_path: Path):
    (tmp_path / "s.yaml").write_text("parameters: {optimizer.lr: {uniform: [0.001, 0.002]}}\n")
    space = load_space(str(tmp_path / "s.yaml"), gpu=False)
    assert networks(space) == ["resnet18"]


WHOLE = """\
parameters:
  train.init: {choice: [none, ppocrv6_small]}
  model.backbone: {choice: [mobilenetv3_small_050, resnet18], when: {train.init: none}}
  augment.crop_px: {choice: [64, 96]}
warm_start: [{train.init: none, model.backbone: resnet18, augment.crop_px: 64}]
"""


def test_a_whole_detector_is_a_network_beside_the_backbones(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(WHOLE)
    space = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})
    names = networks(space)
    assert names == ["mobilenetv3_small_050", "resnet18", "ppocrv6_small"]
    configs = [largest(space, name, taken) for name in names]
    assert [network_name(config) for config in configs] == names
    assert {config.augment.crop_px for config in configs} == {96}


def test_a_fixed_start_is_the_only_network(tmp_path: Path):
    (tmp_path / "s.yaml").write_text("parameters: {optimizer.lr: {uniform: [0.001, 0.002]}}\n")
    start = {"train.init": "ppocrv6_small", "data.root": str(tmp_path)}
    space = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides=start)
    assert networks(space) == ["ppocrv6_small"]


def test_a_start_is_looked_at_before_the_first_trial(tmp_path: Path):
    (tmp_path / "s.yaml").write_text(WHOLE.replace("ppocrv6_small", "gone.onnx"))
    space = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})
    with pytest.raises(InputError, match=r"train\.init: no file at /.*gone\.onnx"):
        check_starts(space)
    (tmp_path / "s.yaml").write_text(WHOLE.replace(", ppocrv6_small", ""))
    none = load_space(str(tmp_path / "s.yaml"), gpu=False, overrides={"data.root": str(tmp_path)})
    check_starts(none)
    assert networks(none) == ["mobilenetv3_small_050", "resnet18"]


def test_a_start_of_ours_must_fit_every_backbone_of_trials(tmp_path: Path):
    own = TrainConfig(model=ModelConfig(backbone="mobilenetv3_small_050", neck_channels=16))
    best = tmp_path / "a run" / "best"
    best.parent.mkdir()
    save_best(best, new_model(own).state_dict(), own, {})
    text = SPACE.replace("fixed: {", f"fixed: {{train.init: '{best}', ")
    (tmp_path / "s.yaml").write_text(text)
    some = {"gpu": False, "overrides": {"data.root": str(tmp_path)}}
    with pytest.raises(InputError, match=r"tensors of the backbone resnet18 are not there"):
        check_starts(load_space(str(tmp_path / "s.yaml"), **some))
    narrow = {"model.backbone": "mobilenetv3_small_050"}
    check_starts(load_space(str(tmp_path / "s.yaml"), narrow=narrow, **some))


@pytest.mark.slow
def test_steps_are_measured_in_another_process(space: SearchSpace):
    config = space.train_config({"model.backbone": "mobilenetv3_small_050", "optimizer.lr": 0.001})
    (step,) = measured_apart([config], threads=1)
    assert step.seconds > 0
    if not torch.cuda.is_available():
        assert (step.memory_bytes, step.gpu_bytes) == (None, None)
    largest_steps = measured_largest(space, threads=1)
    assert list(largest_steps) == networks(space)
    assert all(step.seconds > 0 for step in largest_steps.values())
    broken = config.model_copy(update={"train": config.train.model_copy(update={"amp": "fp16"})})
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        measured_apart([broken], threads=1)
