"""The memory that a training is predicted to take, against what a step on a CPU takes.

`python benchmarks/bench_memory.py [backbones=resnet18,...] [sides=320,640] [batches=1,2]
[page_px=736]` takes steps of real trainings in float32 and a look at a page, and reads every
allocation of torch's allocator from its profiler. The prediction is that for a GPU, which counts
tensors without data; it knows nothing of the steps. Printed are megabytes, and prediction over
measurement less 1. What only a GPU has is not in it: 16-bit numbers, gaps between tensors, and
what cuDNN works in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from timing import run
from torch.profiler import ProfilerActivity, profile

from detector.config.settings import TrainConfig, with_values
from detector.inference.networks import new_model
from detector.training.begin import new_state, place
from detector.training.loss import DBLoss
from detector.training.step import update
from detector.training.step_cost import noise, page_size, predicted_bytes
from detector.training.storage.state_file import TrainingState

DEFAULTS = {
    "backbones": "mobilenetv3_small_050,efficientnet_b0,resnet18,convnext_atto,hrnet_w18_small",
    "sides": "320,640",
    "batches": "1,2",
    "page_px": 736,
}
CPU = torch.device("cpu")
OTHERS: tuple[dict[str, Any], ...] = (
    *({"model.neck": neck, "model.fusion": "none"} for neck in ("fpn", "unet")),
    {"model.fusion": "scale_spatial"},
    {"model.upsample": "smooth"},
    {"model.neck_channels": 64},
    {"optimizer.name": "sgd", "optimizer.ema_decay": 0},
    {"optimizer.backbone_lr_ratio": 0},
    {"train.accumulate": 2},
)


def main(options: dict[str, Any]) -> None:
    print(f"{'':46}  {'batch':>5} {'measured':>9} {'predicted':>9}")
    for label, config in cases(options):
        state = begun(config)
        say(label, config, stepped(state, config), predicted_bytes(config, training=True))
    for backbone in options["backbones"].split(","):
        values = {"model.backbone": backbone, "train.batch_size": 1}
        values["preprocess.shortest_side_px"] = options["page_px"]
        config = settings(values | {"train.channels_last": True})
        height, width = page_size(config, 1.0)
        label = f"{backbone}, a page of {width} x {height}"
        say(label, config, looked(config), predicted_bytes(config, training=False))


def cases(options: dict[str, Any]) -> Iterator[tuple[str, TrainConfig]]:
    """Every backbone with every size, and the first one with other settings."""
    names, sides, batches = (options[key].split(",") for key in ("backbones", "sides", "batches"))
    for name, side, batch in product(names, sides, batches):
        sizes = {"augment.crop_px": int(side), "train.batch_size": int(batch)}
        yield f"{name}, crops of {side}", settings({"model.backbone": name} | sizes)
    for values in OTHERS:
        sizes = {"augment.crop_px": int(sides[0]), "train.batch_size": 2}
        told = ", ".join(f"{key.split('.')[1]}={value}" for key, value in values.items())
        yield f"{names[0]}, {told}", settings({"model.backbone": names[0]} | sizes | values)


def settings(values: dict[str, Any]) -> TrainConfig:
    plain = {"train.amp": "off", "train.device": "cpu", "train.channels_last": False}
    return with_values(TrainConfig(), plain | values)


def begun(config: TrainConfig) -> TrainingState:
    """A training after a step with small crops, which has gradients and all its state."""
    model = new_model(config).train()
    if config.optimizer.backbone_lr_ratio == 0:
        model.backbone.requires_grad_(False).eval()
    place(model, config, CPU)
    state = new_state(model, config, CPU)
    step(state, with_values(config, {"augment.crop_px": 64}))()
    return state


def step(state: TrainingState, config: TrainConfig) -> Callable[[], object]:
    batch = noise(config, CPU, channels_last=False)
    loss = DBLoss(**config.loss.model_dump(), step_k=config.model.step_k)
    return lambda: update(state, batch, loss=loss, amp=None, clip_norm=5.0, log=print)


def stepped(state: TrainingState, config: TrainConfig) -> int:
    """The most bytes of tensors in a step, those that there were before included."""
    work = step(state, config)
    state.optimizer.zero_grad(set_to_none=True)  # as a step begins: what it frees was not seen
    height = width = config.augment.crop_px
    return held(state) + config.train.batch_size * height * width * 7 * 4 + most(work)


def looked(config: TrainConfig) -> int:
    state, (height, width) = begun(config), page_size(config, 1.0)
    page = torch.randn(1, 3, height, width).to(memory_format=torch.channels_last)
    network = state.evaluated.eval()
    with torch.inference_mode():
        return held(state) + page.nbytes + most(lambda: network(page).probability.sigmoid())


def held(state: TrainingState) -> int:
    """Bytes of weights, gradients, the optimizer's state and the average."""
    modules = [state.model, *([] if state.ema is None else [state.ema.module])]
    tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
    tensors += [p.grad for p in state.model.parameters() if p.grad is not None]
    tensors += [t for kept in state.optimizer.state.values() for t in kept.values()]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def most(work: Callable[[], object]) -> int:
    """The most bytes that torch's allocator has given out at a time in `work`, less those freed."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = work()  # until the end, like what it was made from
    now = highest = 0
    assert seen.profiler is not None
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            highest = max(highest, now)
    del kept
    return highest


def say(label: str, config: TrainConfig, measured: int, predicted: int) -> None:
    sizes = f"{config.train.batch_size:5d} {measured / 1e6:9.1f} {predicted / 1e6:9.1f}"
    print(f"{label:46}  {sizes} {predicted / measured - 1:+7.1%}", flush=True)


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
