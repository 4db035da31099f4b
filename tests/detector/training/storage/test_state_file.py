from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.checkpoint import load_weights, read_best, save_best
from detector.training.storage.state_file import TrainingState, load_state, save_state


def small_state(seed: int) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(
        memory_format=torch.channels_last
    )
    ema = ModelEmaV3(model, decay=0.9)
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
    save_best(tmp_path, nn.Linear(2, 3), given, {})
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
    save_best(tmp_path / "checkpoint" / "best", model, config, {"hmean": 0.9})
    best = tmp_path / "checkpoint" / "best"
    for given in (best, best / "model.safetensors", tmp_path / "checkpoint", tmp_path):
        tensors, read = read_best(given)
        assert read == config
        assert same_tensors(tensors, model.state_dict())


def test_the_weights_file_alone_is_enough(tmp_path: Path):
    save_best(tmp_path, nn.Linear(2, 3), TrainConfig(), {})
    (tmp_path / "config.yaml").unlink()
    assert read_best(tmp_path)[1] == TrainConfig()


def test_missing_checkpoint_and_broken_config_say_what_to_do(tmp_path: Path):
    with pytest.raises(InputError, match=r"no model\.safetensors there; give the best/ folder"):
        read_best(tmp_path)
    save_best(tmp_path, nn.Linear(2, 3), TrainConfig(), {})
    (tmp_path / "config.yaml").write_text("loss: {negative_ratio: -1}\n")
    with pytest.raises(InputError, match=r"config\.yaml: loss\.negative_ratio: .* greater than 0"):
        read_best(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"weight is \(3, 2\) instead of \(4, 2\)"):
        load_weights(nn.Linear(2, 4), nn.Linear(2, 3).state_dict(), tmp_path)
    with pytest.raises(InputError, match="missing bias"):
        load_weights(nn.Linear(2, 3), {"weight": torch.zeros(3, 2)}, tmp_path)
