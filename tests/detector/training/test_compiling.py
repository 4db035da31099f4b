"""A step by torch.compile: the same numbers and names, or one message."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
import torch._inductor.config
from torch import Tensor, nn

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.data.crops.batch import Batch
from detector.model.dbnet import DBNet
from detector.model.fusion import make_fusion
from detector.model.neck import FPN
from detector.model.norm import keep_single_values
from detector.training.loss import DBLoss
from detector.training.optimizer import Average, build_optimizer
from detector.training.step import update
from detector.training.storage.state_file import TrainingState


class Pyramid(nn.Module):
    """A backbone small enough to be compiled within a test."""

    channels, mean, std = (8, 8, 8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [self.stem(images)]
        for _ in range(3):
            maps.append(nn.functional.avg_pool2d(maps[-1], 2))
        return maps


def network() -> DBNet:
    torch.manual_seed(0)
    model = DBNet(Pyramid(), FPN(Pyramid.channels, 16), make_fusion("none", 16), 16)  # type: ignore
    keep_single_values(model)
    return model.train()


def begun(model: DBNet) -> TrainingState:
    optimizer = build_optimizer(
        [{"params": list(model.parameters()), "lr": 1e-3}], name="sgd", momentum=0.9
    )
    average = Average(model, decay=0.5)
    return TrainingState(model, average, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def step(state: TrainingState) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    text = (torch.rand(2, 1, 64, 64, generator=draw) < 0.1).float()
    whole = torch.ones_like(text)
    images = torch.randn(2, 3, 64, 64, generator=draw)
    batch = Batch(images, text, whole, text, whole)
    loss = DBLoss(**TrainConfig().loss.model_dump(), step_k=50.0)
    losses = update(state, batch, loss=loss, amp=None, clip_norm=5.0, log=lambda _: None)
    assert losses is not None
    return losses


@pytest.fixture(autouse=True)
def nothing_compiled_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_step_is_the_same_step():
    plain, compiled = begun(network()), begun(network())
    compiled.model.compile_training()
    for _ in range(2):
        torch.testing.assert_close(step(compiled), step(plain), rtol=1e-4, atol=1e-5)
    assert graphs() == 1
    for mine, theirs in ((compiled.model, plain.model), (compiled.evaluated, plain.evaluated)):
        own, other = mine.state_dict(), theirs.state_dict()
        assert list(own) == list(other)  # no prefix
        for key, value in other.items():
            torch.testing.assert_close(own[key], value, rtol=1e-3, atol=1e-5)


def test_pages_and_copies_for_evaluation_are_not_compiled():
    model = network()
    names = list(model.state_dict())
    model.compile_training()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for side in (32, 64, 96):
            model.eval()(torch.zeros(1, 3, side, side))
            other.eval()(torch.zeros(1, 3, side, side))
    assert graphs() == 0
    assert list(model.state_dict()) == list(other.state_dict()) == names


@pytest.mark.slow
def test_without_a_compiler_it_is_said_once():
    state = begun(network())
    state.model.compile_training()
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, "/missing/c++")}),
        pytest.raises(InputError) as said,
    ):
        step(state)
    assert str(said.value).startswith("train.compile: torch cannot compile the network: ")
    assert "/missing/c++" in str(said.value)
    assert str(said.value).endswith("such as g++, or set train.compile=false")
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.parametrize("other", [{"train.processes": 2}, {"train.grad_checkpointing": True}])
def test_what_it_does_not_go_with_is_refused(other: dict[str, Any]):
    with pytest.raises(InputError, match="compile=true needs processes=1 and grad_checkpointing"):
        with_values(TrainConfig(), {"train.compile": True} | other)
