"""What a search will cost at most, from one measured training step of each backbone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from detector.config import TrainConfig
from detector.errors import JobError
from detector.step_cost import StepCost
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.duration import duration

BACKBONE = "model.backbone"
# What the memory of a training depends on; 0 for a crop is a whole page.
SIZES = ("train.batch_size", "augment.crop_px", "data.longest_side_px", "model.neck_channels")
Measure = Callable[[Sequence[TrainConfig]], list[StepCost]]


@dataclass(frozen=True)
class Cost:
    """`trials` trainings of `epochs` epochs of `steps` steps, `at_once` at the same time.

    seconds: of one step by backbone, in the order of the space.
    sharing: trials on the same GPU, which at worst wait for each other's steps.
    """

    trials: int
    epochs: int
    steps: int
    at_once: int
    seconds: dict[str, float]
    sharing: int = 1

    @property
    def most(self) -> float:
        """Wall seconds of all steps if no trial is stopped and all have the slowest backbone."""
        rounds = math.ceil(self.trials / self.at_once)
        return rounds * self.epochs * self.steps * max(self.seconds.values()) * self.sharing

    def __str__(self) -> str:
        each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        shared = f", {self.sharing} on a GPU" if self.sharing > 1 else ""
        return (
            f"cost: {self.trials} trials x {self.epochs} epochs x {self.steps} steps, "
            f"{self.at_once} at once{shared}; a step takes {each}: at most {duration(self.most)} "
            "of training, without validation and with no trial stopped early"
        )


def estimate(
    space: SearchSpace, *, pages: int, at_once: int, measure: Measure, sharing: int = 1
) -> Cost:
    """The cost of a search on `pages` training pages.

    `measure` gives what a step takes of each of some trainings; there is one for each backbone,
    with the other settings of the first warm start.
    """
    names = backbones(space)
    configs = [example(space, name) for name in names]
    steps = max(math.ceil(pages / config.train.batch_size) for config in configs)
    seconds = {n: s.seconds for n, s in zip(names, measure(configs), strict=True)}
    budget = space.budget
    return Cost(budget.trials, budget.epochs, steps, max(1, at_once), seconds, sharing)


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
    from detector.device import set_threads
    from detector.warmup import step_cost

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
    return space.train_config({key: point[key] for key in space.active(point)})
