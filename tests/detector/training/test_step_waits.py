"""A step reads no value on its way, so that the processor never waits for a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import detector.training.loss
from detector.config.settings import TrainConfig, with_values
from detector.data.crops.batch import Batch
from detector.inference.networks import new_model
from detector.training.begin import new_state
from detector.training.loss import DBLoss, bisected
from detector.training.step import update
from detector.training.storage.state_file import TrainingState

SETTINGS = {
    "model.backbone": "mobilenetv3_small_100",
    "model.neck_channels": 32,
    "train.amp": "bf16",
    "train.accumulate": 2,
}


READING = {
    torch.ops.aten._local_scalar_dense,  # item(), float(), bool()
    torch.ops.aten.nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten.unique_consecutive,
    torch.ops.aten._unique2,
}


class Unread(TorchDispatchMode):
    """What would wait for a GPU fails: a tensor's value, and a shape that depends on values."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket in READING:
            raise AssertionError(f"{func} waits")
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_):
            assert all(i is None or i.dtype == torch.int64 for i in args[1]), "a mask waits"
        return func(*args, **(kwargs or {}))


def make_loss() -> DBLoss:
    return DBLoss(**TrainConfig().loss.model_dump(), step_k=50.0)


def begun(device: str, name: str) -> tuple[TrainingState, Batch]:
    """A training and a batch of which a tenth is text."""
    config = with_values(TrainConfig(), SETTINGS | {"optimizer.name": name})
    with torch.device(device):
        model = new_model(config).train()
        text = (torch.rand(4, 1, 64, 64) < 0.1).float()
        whole, images = torch.ones_like(text), torch.randn(4, 3, 64, 64)
    batch = Batch(images, text, whole, text, whole)
    return new_state(model, config, images.device), batch


def steps(state: TrainingState, batch: Batch, loss: DBLoss, count: int = 3) -> Tensor:
    for _ in range(count):
        losses = update(
            state, batch, loss=loss, amp=torch.bfloat16, clip_norm=5.0, log=lambda _: None
        )
        state.step += 1
    assert losses is not None
    return losses


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_step_needs_the_value_of_no_tensor(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detector.training.loss, "kth_largest", bisected)  # that of a GPU
    state, batch = begun("cpu", name)
    with Unread():
        losses = steps(state, batch, make_loss())
    assert losses.isfinite().all()


class Reading(DBLoss):
    def forward(self, maps: Any, *targets: Tensor, pool: Any = None) -> Any:
        losses = super().forward(maps, *targets, pool=pool)
        assert losses.total > 0
        return losses


class Picking(DBLoss):
    def forward(self, maps: Any, *targets: Tensor, pool: Any = None) -> Any:
        losses = super().forward(maps, *targets, pool=pool)
        return losses._replace(total=losses.total + maps.probability[targets[0] > 0].sum())


@pytest.mark.parametrize("kind", [Reading, Picking])
def test_a_loss_that_waits_is_found_out(kind: type[DBLoss]):
    state, batch = begun("cpu", "adamw")
    loss = kind(**TrainConfig().loss.model_dump(), step_k=50.0)
    with Unread(), pytest.raises(AssertionError, match="waits"):
        steps(state, batch, loss, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_step_does_not_wait_for_the_gpu(name: str):
    state, batch = begun("cuda", name)
    loss = make_loss()
    steps(state, batch, loss, 1)  # what is made once may wait
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = steps(state, batch, loss)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert losses.isfinite().all()
