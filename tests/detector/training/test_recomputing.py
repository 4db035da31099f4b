"""Gradient checkpointing: less is kept for the backward pass, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from detector.config.settings import TrainConfig, with_values
from detector.data.crops.batch import Batch
from detector.inference.networks import new_model
from detector.training.begin import new_state
from detector.training.loss import DBLoss
from detector.training.step import update
from detector.training.storage.state_file import TrainingState

CPU = torch.device("cpu")


def begun(**values: Any) -> TrainingState:
    small = {"model.neck_channels": 32, "optimizer.lr": 1e-4, "train.accumulate": 2}
    dotted = {key.replace("__", "."): value for key, value in values.items()}
    config = with_values(TrainConfig(), small | dotted)
    torch.manual_seed(0)
    return new_state(new_model(config).train(), config, CPU)


def crops() -> Batch:
    draw = torch.Generator().manual_seed(1)
    text = (torch.rand(4, 1, 64, 64, generator=draw) < 0.1).float()
    whole = torch.ones_like(text)
    images = torch.randn(4, 3, 64, 64, generator=draw)
    return Batch(images, text, whole, text, whole)


def stepped(state: TrainingState, amp: torch.dtype | None = None) -> tuple[Tensor, int]:
    """The losses of the second of two steps, and the bytes that its forward passes keep."""
    loss = DBLoss(**TrainConfig().loss.model_dump(), step_k=50.0)
    kept = 0
    torch.manual_seed(2)

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    forward = state.model.forward
    # Not around the whole step: what is computed again is soon let go of.
    state.model.forward = lambda images: _counting(forward, images, pack)  # type: ignore
    for _ in range(2):
        kept = 0
        losses = update(state, crops(), loss=loss, amp=amp, clip_norm=5.0, log=lambda _: None)
        state.step += 1
    del state.model.forward
    assert losses is not None
    return losses, kept


def _counting(forward: Any, images: Tensor, pack: Any) -> Any:
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        return forward(images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "drop_path", "amp"),
    [
        ("resnet18", 0.2, None),
        ("mobilenetv3_small_100", 0.0, torch.bfloat16),
        ("convnextv2_atto", 0.2, None),
        ("hrnet_w18_small", 0.0, None),  # timm has none for it
        ("fsnet_s", 0.2, None),  # nor for this
    ],
)
def test_computing_again_takes_the_same_steps_with_less_memory(
    backbone: str, drop_path: float, amp: torch.dtype | None
):
    """Running statistics, chance and the average of the weights included."""
    values = {"model__backbone": backbone, "model__drop_path": drop_path}
    plain, again = begun(**values), begun(**values, train__grad_checkpointing=True)
    expected, most = stepped(plain, amp)
    losses, kept = stepped(again, amp)
    assert kept < 0.9 * most
    assert torch.equal(losses, expected)
    for mine, theirs in ((again.model, plain.model), (again.evaluated, plain.evaluated)):
        own = mine.state_dict()
        assert [k for k, v in theirs.state_dict().items() if not torch.equal(v, own[k])] == []
    counters = [v for k, v in own.items() if k.endswith("num_batches_tracked")]
    assert all(int(counter) == 2 * 2 for counter in counters)  # steps and parts


def test_a_frozen_backbone_stays_as_it_is():
    state = begun(train__grad_checkpointing=True, model__backbone="resnet18")
    backbone = state.model.backbone
    backbone.requires_grad_(False).eval()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    stepped(state)
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
