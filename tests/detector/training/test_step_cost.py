from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.networks import new_model
from detector.training.begin import new_state
from detector.training.loss import DBLoss
from detector.training.optimizer import freeze
from detector.training.step import update
from detector.training.step_cost import (
    CONTEXT_BYTES,
    StepCost,
    crop_size,
    first_parts,
    held_bytes,
    noise,
    parts_that_fit,
    predicted_bytes,
    step_cost,
)
from detector.training.storage.state_file import TrainingState
from tests.support.examples import examples

SMALL = {
    "model.backbone": "mobilenetv3_small_050",
    "model.neck_channels": 16,
    "train.batch_size": 2,
    "train.device": "cpu",
}
CPU = torch.device("cpu")


def small(**values: Any) -> TrainConfig:
    dotted = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(TrainConfig(), SMALL | {"augment.crop_px": 64} | dotted)


def stepped(config: TrainConfig) -> TrainingState:
    """A training on the CPU after a step."""
    model = new_model(config).train()
    freeze(model.backbone, frozen=config.optimizer.backbone_lr_ratio == 0)
    state = new_state(model, config, CPU)
    take(state, config)
    return state


def take(state: TrainingState, config: TrainConfig) -> None:
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    batch = noise(config, CPU, channels_last=False)
    update(state, batch, loss=loss, amp=None, clip_norm=5.0, log=lambda _: None)


def held(state: TrainingState) -> int:
    modules = [state.model, *([] if state.ema is None else [state.ema.module])]
    tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
    tensors += [p.grad for p in state.model.parameters() if p.grad is not None]
    kept = [t for values in state.optimizer.state.values() for t in values.values()]
    return sum(t.nbytes for t in (*tensors, *(t for t in kept if t is not None and t.ndim)))


def most(state: TrainingState, config: TrainConfig) -> int:
    """The most bytes that torch's allocator has given out in a step, by its own account."""
    state.optimizer.zero_grad(set_to_none=True)
    now = highest = held(state)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        take(state, config)
    assert seen.profiler is not None
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            highest = max(highest, now)
    return highest


def test_a_larger_step_takes_longer_and_random_numbers_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    small = step_cost(with_values(TrainConfig(), SMALL | {"augment.crop_px": 64}))
    assert torch.rand(1) == expected
    large = step_cost(with_values(TrainConfig(), SMALL | {"augment.crop_px": 640}))
    assert 0 < small.seconds < large.seconds
    assert small == StepCost(small.seconds)  # no GPU, no memory of one


def test_whole_pages_have_a_step_too():
    values = SMALL | {"augment.crop_px": 0, "data.longest_side_px": 96, "augment.scale_max": 1.0}
    assert step_cost(with_values(TrainConfig(), values)).seconds > 0


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({}, (992, 736)),  # upright and 3 : 4, to a shortest side of 736 and a longest of 981
        ({"data.longest_side_px": 1024}, (1024, 768)),
        ({"data.longest_side_px": 1024, "preprocess.shortest_side_px": 384}, (512, 384)),
        ({"augment.crop_px": 320}, (320, 320)),
        ({"data.longest_side_px": 1024, "preprocess.test_scale": 2.0}, (1024, 768)),
    ],
)
def test_the_size_of_a_crop_by_hand(values: dict[str, Any], size: tuple[int, int]):
    config = with_values(TrainConfig(), {"augment.crop_px": 0} | values)
    assert crop_size(config) == size


def test_what_a_training_refuses_is_refused():
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        step_cost(with_values(TrainConfig(), SMALL | {"train.amp": "fp16"}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_larger_step_takes_more_of_a_gpu():
    values = SMALL | {"train.device": "cuda"}
    small, large = (
        step_cost(with_values(TrainConfig(), values | {"augment.crop_px": side}))
        for side in (64, 640)
    )
    assert CONTEXT_BYTES < small.memory_bytes < large.memory_bytes < large.gpu_bytes
    assert torch.cuda.memory_reserved() == 0


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimizer__name": "sgd"},
        {"optimizer__name": "sgd", "optimizer__momentum": 0, "optimizer__ema_decay": 0},
        {"optimizer__backbone_lr_ratio": 0},
        {"model__backbone": "convnext_atto", "model__neck": "unet"},
    ],
)
def test_what_a_training_holds_is_counted_to_the_byte(values: dict[str, Any]):
    config = small(**values)
    assert held_bytes(config) == held(stepped(config))


@pytest.mark.parametrize(
    "values",
    [
        {"augment__crop_px": 320},
        {"augment__crop_px": 256, "model__backbone": "resnet18", "model__neck_channels": 64},
        {"augment__crop_px": 256, "model__fusion": "none", "model__neck": "unet"},
        {"augment__crop_px": 256, "optimizer__backbone_lr_ratio": 0},
        {"augment__crop_px": 256, "train__batch_size": 4, "train__accumulate": 2},
    ],
)
def test_a_step_takes_what_was_predicted(values: dict[str, Any]):
    """In float32, and on a CPU, whose kernels work in buffers of their own here and there."""
    config = small(train__amp="off", train__channels_last=False, **values)
    state = stepped(config)
    gradients = sum(p.grad.nbytes for p in state.model.parameters() if p.grad is not None)
    measured, predicted = most(state, config), predicted_bytes(config, training=True)
    # Gradients are counted as if they were there all along, as they are from the second part on.
    assert 0.9 * measured < predicted < 1.1 * measured + gradients


@examples(10)
@given(
    st.sampled_from([64, 96, 128]),
    st.integers(1, 4),
    st.sampled_from([16, 32]),
    st.sampled_from(["fpn", "unet"]),
    st.sampled_from(["augment.crop_px", "train.batch_size", "model.neck_channels"]),
)
def test_more_of_anything_takes_more(side: int, batch: int, width: int, neck: str, key: str):
    values = {"augment.crop_px": side, "train.batch_size": batch, "model.neck_channels": width}
    config = with_values(TrainConfig(), SMALL | values | {"model.neck": neck})
    more = with_values(config, {key: 2 * values[key]})
    assert predicted_bytes(config, training=True) < predicted_bytes(more, training=True)


def test_numbers_of_16_bits_take_less():
    config = small(augment__crop_px=256)
    plain = with_values(config, {"train.amp": "off"})
    assert predicted_bytes(config, training=True) < 0.8 * predicted_bytes(plain, training=True)


def test_a_larger_page_takes_more_and_a_tile_bounds_it():
    pages = [small(data__longest_side_px=side) for side in (256, 512, 1024)]
    sizes = [predicted_bytes(page, training=False) for page in pages]
    assert sizes == sorted(set(sizes))
    doubled = with_values(pages[1], {"preprocess.test_scale": 2.0})
    assert predicted_bytes(doubled, training=False) == sizes[2]
    assert predicted_bytes(doubled, training=True) == predicted_bytes(pages[1], training=True)
    tiled = with_values(pages[-1], {"preprocess.tile_px": 256})
    assert predicted_bytes(tiled, training=False) < sizes[1]


@examples(40)
@example(share=0.8, batch=6, least=1, factor=1.0)  # 600 bytes above the line from one crop to all
@example(share=1.0, batch=6, least=1, factor=0.8)
@given(
    share=st.floats(0, 1.5),
    batch=st.sampled_from([1, 4, 6]),
    least=st.integers(1, 2),
    factor=st.floats(0.8, 2),
)
def test_the_parts_fit_where_a_crop_does(share: float, batch: int, least: int, factor: float):
    config = small(train__batch_size=batch, train__accumulate=least)
    whole = factor * predicted_bytes(config, training=True)
    one = factor * predicted_bytes(config, training=True, parts=max(batch, least))
    room = share * whole
    parts = parts_that_fit(config, room, factor)
    assert least <= parts <= max(batch, least)
    assert parts_that_fit(config, room + 1e6, factor) <= parts
    if whole <= room:
        assert parts == least
    elif one <= room:
        assert factor * predicted_bytes(config, training=True, parts=parts) <= room
    else:
        assert parts == max(batch, least)


def test_several_processes_take_fewer_crops_each():
    alone, shared = small(train__batch_size=8), small(train__batch_size=8, train__processes=2)
    four = predicted_bytes(small(train__batch_size=4), training=True)
    assert predicted_bytes(shared, training=True) == four
    assert (parts_that_fit(alone, 1, 1.0), parts_that_fit(shared, 1, 1.0)) == (8, 4)


def test_a_training_whose_start_is_gone_goes_on_uncounted(tmp_path: Path):
    """Its network is in its state, so that a resume needs neither a file nor a package."""
    said: list[str] = []
    lost = small(train__batch_size=6, train__accumulate=2, train__init=str(tmp_path / "gone"))
    assert first_parts(lost, 1e9, 1.0, said.append) == 2
    assert len(said) == 1
    assert said[0].startswith("memory: train.init: must be none, ")
    assert said[0].endswith("; a batch that does not fit will be worked through in parts")


def test_a_training_on_a_cpu_begins_as_it_was_asked_to_and_on_a_gpu_says_why():
    said: list[str] = []
    config = small(train__batch_size=6, train__accumulate=2)
    assert first_parts(config, None, 1.0, said.append) == 2
    recomputing = with_values(config, {"train.grad_checkpointing": True})
    assert first_parts(recomputing, 0, 1.0, said.append) == 2
    assert said == []
    two, three = (predicted_bytes(config, training=True, parts=parts) for parts in (3, 2))
    assert first_parts(config, (two + three) / 2, 1.0, said.append) == 3
    assert first_parts(config, 1e9, 1.0, said.append) == 2
    assert first_parts(config, 0, 1.0, said.append) == 6
    assert said[1].startswith("memory: a batch of 6 in 2 parts should take 0.0 of 1.0 GB")
    assert "a batch of 6 in 6 parts should take" in said[2]
