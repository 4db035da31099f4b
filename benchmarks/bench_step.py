"""Ways to take a training step: as it is, with gradient checkpointing, and compiled.

`python benchmarks/bench_step.py [backbone=mobilenetv3_small_100] [crop=320] [batch=4] [rounds=5]`
trains the default network on noise on the CPU, the ways in turns. Printed are the seconds of the
fastest step of each, those of its first one, which compiles, and what its forward pass keeps for
the backward pass, weights left out.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from timing import best_times, run

from detector.config.settings import TrainConfig, with_values
from detector.core.device import keep_freed_memory
from detector.core.errors import InputError
from detector.data.crops.batch import Batch
from detector.inference.networks import new_model
from detector.training.begin import new_state, place
from detector.training.loss import DBLoss
from detector.training.step import update
from detector.training.step_cost import noise
from detector.training.storage.state_file import TrainingState

DEFAULTS = {"backbone": "mobilenetv3_small_100", "crop": 320, "batch": 4, "rounds": 5}
WAYS = {
    "as it is": {},
    "gradient checkpointing": {"train.grad_checkpointing": True},
    "compiled": {"train.compile": True},
}
CPU = torch.device("cpu")


def trained(options: dict[str, Any], way: dict[str, Any]) -> tuple[TrainingState, Batch]:
    """A training in one of the ways before its first step, and a batch for it."""
    sizes = {"augment.crop_px": options["crop"], "train.batch_size": options["batch"]}
    config = with_values(TrainConfig(), {"model.backbone": options["backbone"]} | sizes | way)
    torch.manual_seed(0)
    model = new_model(config).train()
    last = place(model, config, CPU)
    return new_state(model, config, CPU), noise(config, CPU, channels_last=last)


def kept_bytes(state: TrainingState, batch: Batch) -> int:
    """What the forward pass keeps for the backward pass, each memory once, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in state.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in weights:
            kept[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = state.model(batch.images)
    del maps
    return sum(kept.values())


def main(options: dict[str, Any]) -> None:
    keep_freed_memory()
    loss = DBLoss(**TrainConfig().loss.model_dump(), step_k=TrainConfig().model.step_k)
    trainings = [trained(options, way) for way in WAYS.values()]
    kept = [kept_bytes(*training) for training in trainings[:2]]  # a compiled one hides them

    def step(state: TrainingState, batch: Batch) -> Callable[[], None]:
        def take() -> None:
            update(state, batch, loss=loss, amp=None, clip_norm=0.0, log=print)

        return take

    steps, first = [], []
    for name, training in zip(WAYS, trainings, strict=True):
        call, started = step(*training), perf_counter()
        try:
            call()
        except InputError as error:
            print(f"{name}: left out: {error}")
            continue
        steps.append(call)
        first.append(perf_counter() - started)
    times = best_times(steps, options["rounds"])
    print(f"{options['backbone']}, {options['batch']} crops of {options['crop']} px, CPU")
    print(f"{'':24} {'s a step':>9} {'ratio':>6} {'first, s':>9} {'kept, MiB':>10}")
    for i, name in zip(range(len(steps)), WAYS, strict=False):
        memory = f"{kept[i] / 2**20:10.0f}" if i < len(kept) else f"{'':10}"
        print(f"{name:24} {times[i]:9.3f} {times[i] / times[0]:5.2f}x {first[i]:9.1f} {memory}")


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
