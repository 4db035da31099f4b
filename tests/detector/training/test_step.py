from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detector.core.errors import JobError
from detector.data.crops.batch import Batch
from detector.model.dbnet import Maps
from detector.training.loss import DBLoss
from detector.training.step import shares, split, update
from detector.training.storage.state_file import TrainingState


class Small(nn.Module):
    """A detector of two convolutions without batch statistics, so that parts add up exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Maps:
        probability, threshold = self.second(self.first(images).relu()).split(1, dim=1)
        return Maps(probability, threshold)


class Short(Small):
    """The same on a device that has memory for two crops at once."""

    error = torch.OutOfMemoryError("out of memory")

    def forward(self, images: Tensor) -> Maps:
        if len(images) > 2:
            raise self.error
        return super().forward(images)


class ShortOfCublas(Short):
    error = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")


class Faulty(Short):
    error = RuntimeError("CUDA error: an illegal memory access was encountered")


def batch(crops: int) -> Batch:
    """Crops with the same number of text pixels each, so that parts weigh alike."""
    draw = torch.Generator().manual_seed(0)
    shrink = torch.zeros(crops, 1, 8, 8)
    shrink[:, :, 2:4, 2:6] = 1
    one = torch.ones_like(shrink)
    threshold = torch.rand(shrink.shape, generator=draw)
    images = torch.randn(crops, 3, 8, 8, generator=draw)
    return Batch(images, shrink, one, threshold, one)


def state_of(model: nn.Module, parts: int = 1) -> TrainingState:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return TrainingState(
        model, None, optimizer, torch.amp.GradScaler("cpu", enabled=False), parts=parts
    )


LOSS = DBLoss(
    negative_ratio=3.0,
    min_negatives=8,
    probability_weight=5.0,
    threshold_weight=10.0,
    binary_weight=0.0,  # dice is a ratio of sums over the batch, so parts do not add up to it
    step_k=50.0,
)


def trained(model: nn.Module, parts: int = 1) -> tuple[Tensor, TrainingState, list[str]]:
    state, said = state_of(model, parts), []
    losses = update(state, batch(6), loss=LOSS, amp=None, clip_norm=5.0, log=said.append)
    return losses, state, said


def small(kind: type[Small] = Small) -> Small:
    torch.manual_seed(0)
    return kind()


@pytest.mark.parametrize("parts", [2, 3, 6, 100])
def test_a_batch_in_parts_takes_the_same_step(parts: int):
    whole, in_parts = small(), small()
    losses, _, _ = trained(whole)
    again, _, said = trained(in_parts, parts)
    torch.testing.assert_close(again[:3], losses[:3])
    for mine, theirs in zip(in_parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert said == []


def test_a_step_changes_every_weight():
    model = small()
    before = copy.deepcopy(model.state_dict())
    trained(model)
    assert all(not torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("kind", [Short, ShortOfCublas])
def test_out_of_memory_halves_the_batch_until_it_fits_and_says_so(kind: type[Small]):
    enough, short = small(), small(kind)
    losses, _, _ = trained(enough)
    again, state, said = trained(short)
    torch.testing.assert_close(again[:3], losses[:3])
    assert state.parts == 4
    assert said == [
        "out of memory with 6 crops at once: from here on 3 at once, with the gradients of 6 "
        "added up before each step",
        "out of memory with 3 crops at once: from here on 2 at once, with the gradients of 6 "
        "added up before each step",
    ]
    for mine, theirs in zip(short.parameters(), enough.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


class Moody(nn.Module):
    """A detector with a batch norm and chance; the forward passes `short` find no memory."""

    def __init__(self, short: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.3)
        self.calls, self.short = 0, short

    def forward(self, images: Tensor) -> Maps:
        self.calls += 1
        features = self.drop(self.norm(self.first(images)).relu())
        if self.calls in self.short:
            raise torch.OutOfMemoryError("out of memory")
        probability, threshold = self.second(features).split(1, dim=1)
        return Maps(probability, threshold)


class ShortOfState(torch.optim.AdamW):
    """It finds no memory for its state at first, and then does."""

    def __init__(self, parameters: Iterator[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr=lr)
        self.short = True

    def step(self, closure: Any = None) -> Any:
        if self.short:
            self.short = False
            first = self.param_groups[0]["params"][0]
            self.state[first]["step"] = torch.tensor(0.0)
            raise torch.OutOfMemoryError("out of memory")
        return super().step(closure)


def moody(
    short: tuple[int, ...], parts: int, kind: Callable[..., Any] = torch.optim.AdamW
) -> tuple[TrainingState, Tensor]:
    """Two updates by AdamW; the state after them and the losses of the second."""
    model = Moody(short)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    state = TrainingState(model, None, kind(model.parameters(), lr=0.1), scaler, parts=parts)
    for _ in range(2):
        losses = update(state, batch(6), loss=LOSS, amp=None, clip_norm=5.0, log=lambda _: None)
    return state, losses


@pytest.mark.parametrize("short", [(1,), (1, 2), (1, 3)])
def test_nothing_is_left_of_an_attempt_that_ran_out_of_memory(short: tuple[int, ...]):
    state, losses = moody(short, 1)
    expected, expected_losses = moody((), 2 ** len(short))
    assert state.parts == expected.parts
    assert torch.equal(losses, expected_losses)
    for name, value in expected.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], value), name
    assert int(state.model.norm.num_batches_tracked) == 2 * len(shares([6], expected.parts))


def test_the_state_of_the_optimizer_is_looked_for_before_the_step():
    state, _ = moody((), 1, ShortOfState)
    expected, _ = moody((), 2)
    assert state.parts == 2
    for name, value in expected.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], value), name


def test_no_other_error_of_the_device_is_taken_for_missing_memory():
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trained(small(Faulty))


def test_a_crop_too_large_for_the_device_ends_the_training_with_the_remedy():
    class Tiny(Small):
        def forward(self, _: Tensor) -> Maps:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(
        JobError,
        match=r"^out of memory: the device has no memory for a single crop; use a smaller augment",
    ):
        trained(small(Tiny))


def test_parts_hold_the_crops_of_one_process_whoever_has_them():
    assert shares([3, 2], 1) == [[3, 2]]
    assert shares([3, 2], 2) == [[2, 1], [1, 1]]
    assert shares([2, 2, 2], 4) == [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    assert shares([0, 2], 9) == [[0, 1], [0, 1]]


def test_parts_are_even_in_order_and_whole():
    assert shares([5], 3) == [[2], [2], [1]]
    parts = list(split(batch(5), [2, 2, 1]))
    assert [len(part.images) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.images for part in parts]), batch(5).images)
    one = batch(4)
    assert list(split(one, [4])) == [one]
