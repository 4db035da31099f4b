"""What a search will cost at most, from one measured training step of each backbone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeAlias

from detector.config.settings import TrainConfig
from detector.core.errors import JobError
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.duration import duration

if TYPE_CHECKING:  # seconds of imports
    from detector.training.step_cost import StepCost

BACKBONE = "model.backbone"
# What the memory of a training depends on; 0 for a crop is a whole page.
SIZES = (
    *("train.batch_size", "augment.crop_px", "model.neck_channels"),
    *("data.longest_side_px", "preprocess.shortest_side_px"),
)
Measure: TypeAlias = "Callable[[Sequence[TrainConfig]], list[StepCost]]"


def estimate(
    space: SearchSpace, *, pages: int, at_once: int, measure: Measure, sharing: int = 1
) -> str:
    """What a search on `pages` training pages takes at most: none stopped, all the slowest.

    `measure` gives what a step takes of each of some trainings; there is one for each backbone,
    with the other settings of the first warm start. Of the trials at once, `sharing` are on the
    same GPU, where at worst they wait for each other's steps.
    """
    names, budget = backbones(space), space.budget
    configs = [example(space, name) for name in names]
    steps = max(math.ceil(pages / config.train.batch_size) for config in configs)
    seconds = [step.seconds for step in measure(configs)]
    rounds = math.ceil(budget.trials / at_once)
    most = rounds * budget.epochs * steps * max(seconds) * sharing
    each = ", ".join(f"{name} {s:.2f} s" for name, s in zip(names, seconds, strict=True))
    shared = f", {sharing} on a GPU" if sharing > 1 else ""
    return (
        f"cost: {budget.trials} trials x {budget.epochs} epochs x {steps} steps, "
        f"{at_once} at once{shared}; a step takes {each}: at most {duration(most)} "
        "of training, without validation and with no trial stopped early"
    )


def backbones(space: SearchSpace) -> list[str]:
    """The backbones that trials may have."""
    parameter = space.parameters.get(BACKBONE)
    if parameter is not None:
        return [str(value) for value in parameter.values]
    return [str(space.fixed.get(BACKBONE, TrainConfig().model.backbone))]


def measured_apart(configs: Sequence[TrainConfig], *, threads: int) -> list[StepCost]:
    """What a step of each training takes on this machine.

    In a process of its own, which gives the memory of a GPU back. Raises InputError where a
    training cannot run, and JobError when a step fails or the process is killed.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_measure_all, list(configs), threads).result()
    except BrokenProcessPool:
        raise JobError(
            "the process that measured a step was killed, as happens when memory runs out"
        ) from None


def _measure_all(configs: Sequence[TrainConfig], threads: int) -> list[StepCost]:
    # Seconds of imports, needed here only.
    from detector.core.device import set_threads
    from detector.training.step_cost import step_cost

    set_threads(threads)
    return [step_cost(config) for config in configs]


def example(space: SearchSpace, backbone: str, *, largest: bool = False) -> TrainConfig:
    """A training with this backbone: a warm start or, without any, the first value of each.

    With `largest`, the highest value of each searched setting that needs memory.
    """
    point = dict(space.warm_start[0]) if space.warm_start else {}
    if BACKBONE in space.parameters:
        point[BACKBONE] = backbone
    for key, parameter in space.parameters.items():
        if key not in point and parameter.applies(point):
            point[key] = parameter.values[0]
        if largest and key in SIZES and key in point:
            point[key] = max(parameter.values, key=lambda value: value or math.inf)
    return space.train_config(point)
