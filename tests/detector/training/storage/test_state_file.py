from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.core.plain import dump_yaml
from detector.core.weight_files import load_tensors, save_tensors
from detector.inference.checkpoint import load_weights, read_best, save_best
from detector.inference.detector import load_detector
from detector.inference.networks import new_model
from detector.training.begin import new_state
from detector.training.optimizer import Average
from detector.training.storage.state_file import TrainingState, load_state, save_state


def small_state(seed: int) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(
        memory_format=torch.channels_last
    )
    ema = Average(model, decay=0.9)
    return TrainingState(
        model,
        ema,
        torch.optim.AdamW(model.parameters()),
        torch.amp.GradScaler("cpu", enabled=False),
    )


def advance(state: TrainingState, steps: int) -> None:
    for _ in range(steps):
        state.optimizer.zero_grad()
        state.model(torch.randn(2, 3, 9, 9)).square().mean().backward()
        state.optimizer.step()
        state.step += 1
        assert state.ema is not None
        state.ema.update(state.model, step=state.step)


def same_tensors(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_restored_state_goes_on_bit_for_bit(tmp_path: Path):
    straight = small_state(0)
    advance(straight, 3)
    straight.epoch, straight.metrics = 1, {"hmean": 0.5}
    save_state(tmp_path / "last.safetensors", straight, TrainConfig())
    advance(straight, 4)

    restored = small_state(1)
    load_state(tmp_path / "last.safetensors", restored, TrainConfig())
    assert (restored.epoch, restored.step, restored.metrics) == (1, 3, {"hmean": 0.5})
    advance(restored, 4)
    assert same_tensors(straight.model.state_dict(), restored.model.state_dict())
    assert straight.ema is not None
    assert restored.ema is not None
    assert same_tensors(straight.ema.module.state_dict(), restored.ema.module.state_dict())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_fused_and_plain_optimizers_go_on_from_the_state_of_each_other(
    kind: type[torch.optim.Optimizer], fused: bool, device: str, tmp_path: Path
):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")

    def begun(fused: bool) -> TrainingState:
        state = small_state(0)
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        optimizer = kind(state.model.to(device).parameters(), lr=0.01, fused=fused, **options)
        return replace(state, optimizer=optimizer, ema=None)

    def advanced(state: TrainingState) -> None:
        for _ in range(3):
            state.optimizer.zero_grad()
            state.model(torch.ones(2, 3, 9, 9, device=device)).square().mean().backward()
            state.optimizer.step()

    path, straight, other = tmp_path / "last.safetensors", begun(fused), begun(not fused)
    advanced(straight)
    save_state(path, straight, TrainConfig())
    load_state(path, other, TrainConfig())
    advanced(straight)
    advanced(other)
    for mine, theirs in zip(other.model.parameters(), straight.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_another_config_is_refused_with_the_differences(tmp_path: Path):
    path = tmp_path / "last.safetensors"
    save_state(path, small_state(0), TrainConfig())
    other = with_values(TrainConfig(), {"optimizer.lr": 0.5, "data.workers": 3})
    with pytest.raises(InputError, match=r"optimizer\.lr: 0\.001 when it was saved, 0\.5 now") as e:
        load_state(path, small_state(0), other)
    assert "data.workers" not in str(e.value)


@pytest.mark.parametrize(("name", "rate"), [("adamw", 0.001), ("sgd", 0.007)])
def test_a_rate_left_to_the_optimizer_goes_on_from_the_same_rate_given(
    tmp_path: Path, name: str, rate: float
):
    """As in a file from before the rate could be left out."""
    given = with_values(TrainConfig(), {"optimizer.name": name, "optimizer.lr": rate})
    left = with_values(given, {"optimizer.lr": None})
    for saved, now in ((given, left), (left, given)):
        save_state(tmp_path / "last.safetensors", small_state(0), saved)
        load_state(tmp_path / "last.safetensors", small_state(1), now)
    save_best(tmp_path, nn.Linear(2, 3).state_dict(), given, {})
    assert read_best(tmp_path)[1].optimizer.lr == rate


def test_sgd_that_had_the_rate_of_adamw_is_told_apart(tmp_path: Path):
    path = tmp_path / "last.safetensors"
    sgd = with_values(TrainConfig(), {"optimizer.name": "sgd"})
    save_state(path, small_state(0), with_values(sgd, {"optimizer.lr": 0.001}))
    with pytest.raises(InputError, match=r"optimizer\.lr: 0\.001 when it was saved, 0\.007 now"):
        load_state(path, small_state(0), sgd)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 64])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_state(path, small_state(0), TrainConfig())


def test_best_weights_come_back_from_every_folder_name(tmp_path: Path):
    model = nn.Linear(2, 3)
    config = with_values(TrainConfig(), {"postprocess.box_thresh": 0.4})
    save_best(tmp_path / "checkpoint" / "best", model.state_dict(), config, {"hmean": 0.9})
    best = tmp_path / "checkpoint" / "best"
    for given in (best, best / "model.safetensors", tmp_path / "checkpoint", tmp_path):
        tensors, read = read_best(given)
        assert read == config
        assert same_tensors(tensors, model.state_dict())


def test_the_weights_file_alone_is_enough(tmp_path: Path):
    save_best(tmp_path, nn.Linear(2, 3).state_dict(), TrainConfig(), {})
    (tmp_path / "config.yaml").unlink()
    assert read_best(tmp_path)[1] == TrainConfig()


def test_missing_checkpoint_and_broken_config_say_what_to_do(tmp_path: Path):
    with pytest.raises(InputError, match=r"no model\.safetensors there; give the best/ folder"):
        read_best(tmp_path)
    save_best(tmp_path, nn.Linear(2, 3).state_dict(), TrainConfig(), {})
    (tmp_path / "config.yaml").write_text("loss: {negative_ratio: -1}\n")
    with pytest.raises(InputError, match=r"config\.yaml: loss\.negative_ratio: .* greater than 0"):
        read_best(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"weight is \(3, 2\) instead of \(4, 2\)"):
        load_weights(nn.Linear(2, 4), nn.Linear(2, 3).state_dict(), tmp_path)
    with pytest.raises(InputError, match="missing bias"):
        load_weights(nn.Linear(2, 3), {"weight": torch.zeros(3, 2)}, tmp_path)


OLD = {"model.backbone": "convnext_atto", "model.neck_channels": 16, "model.norm_maps": False}


def before_norms(config: TrainConfig) -> dict:
    """The settings as a version that did not know of `model.norm_maps` kept them."""
    settings = config.model_dump(mode="json")
    del settings["model"]["norm_maps"]
    return settings


def test_a_detector_from_before_maps_were_normalised_is_read_as_it_was(tmp_path: Path):
    config = with_values(TrainConfig(), OLD)
    torch.manual_seed(0)
    model = new_model(config).eval()
    save_best(tmp_path, model.state_dict(), config, {})
    write_text(tmp_path / "config.yaml", dump_yaml(before_norms(config)))
    images = torch.randn(1, 3, 64, 64)
    detector, read = load_detector(tmp_path, device="cpu")
    assert not read.model.norm_maps
    with torch.no_grad():
        torch.testing.assert_close(detector.model(images).probability, model(images).probability)


def saved_before_norms(path: Path, config: TrainConfig) -> TrainingState:
    """A state as a version that did not know of `model.norm_maps` wrote it."""
    state = new_state(new_model(config), config, torch.device("cpu"))
    save_state(path, state, config)
    tensors, metadata = load_tensors(path)
    record = json.loads(metadata["state"]) | {"config": before_norms(config)}
    save_tensors(path, tensors, {"state": json.dumps(record)})
    return state


def test_a_training_from_before_maps_were_normalised_goes_on_without(tmp_path: Path):
    path = tmp_path / "last.safetensors"
    config = with_values(TrainConfig(), OLD)
    old = saved_before_norms(path, config)
    new = new_state(new_model(config), config, torch.device("cpu"))
    load_state(path, new, config)
    assert same_tensors(old.model.state_dict(), new.model.state_dict())
    normed = with_values(config, {"model.norm_maps": True})
    with pytest.raises(InputError, match=r"model\.norm_maps: False when it was saved, True now"):
        load_state(path, new_state(new_model(normed), normed, torch.device("cpu")), normed)
    save_state(path, new_state(new_model(normed), normed, torch.device("cpu")), normed)
    with pytest.raises(InputError, match=r"model\.norm_maps: True when it was saved, False now"):
        load_state(path, new, config)


def test_the_norm_of_maps_is_no_difference_to_a_backbone_with_batch_norm(tmp_path: Path):
    path = tmp_path / "last.safetensors"
    changes = {"model.backbone": "mobilenetv3_small_050", "model.neck_channels": 16}
    config = with_values(TrainConfig(), changes)
    old = saved_before_norms(path, config)
    new = new_state(new_model(config), config, torch.device("cpu"))
    load_state(path, new, config)
    assert same_tensors(old.model.state_dict(), new.model.state_dict())
