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
from orchestrator.leaderboard_table import duration
from orchestrator.space import SearchSpace

BACKBONE = "model.backbone"
Measure = Callable[[Sequence[TrainConfig]], list[float]]


@dataclass(frozen=True)
class Cost:
    """`trials` trainings of `epochs` epochs of `steps` steps, `at_once` at the same time.

    seconds: of one step by backbone, in the order of the space.
    """

    trials: int
    epochs: int
    steps: int
    at_once: int
    seconds: dict[str, float]

    @property
    def most(self) -> float:
        """Wall seconds of all steps if no trial is stopped and all have the slowest backbone."""
        rounds = math.ceil(self.trials / self.at_once)
        return rounds * self.epochs * self.steps * max(self.seconds.values())

    def __str__(self) -> str:
        each = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        return (
            f"cost: {self.trials} trials x {self.epochs} epochs x {self.steps} steps, "
            f"{self.at_once} at once; a step takes {each}: at most {duration(self.most)} of "
            "training, without validation and with no trial stopped early"
        )


def estimate(space: SearchSpace, *, pages: int, at_once: int, measure: Measure) -> Cost:
    """The cost of a search on `pages` training pages.

    `measure` gives the seconds of a step of each of some trainings; there is one for each
    backbone, with the other settings of the first warm start.
    """
    names = backbones(space)
    configs = [_config(space, name) for name in names]
    steps = max(math.ceil(pages / config.train.batch_size) for config in configs)
    seconds = dict(zip(names, measure(configs), strict=True))
    return Cost(space.budget.trials, space.budget.epochs, steps, max(1, at_once), seconds)


def backbones(space: SearchSpace) -> list[str]:
    """The backbones that trials may have."""
    parameter = space.parameters.get(BACKBONE)
    if parameter is not None:
        return [str(value) for value in parameter.values]
    return [str(space.fixed.get(BACKBONE, TrainConfig().model.backbone))]


def measured_apart(configs: Sequence[TrainConfig], *, threads: int) -> list[float]:
    """Seconds of a step of each training on this machine.

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


def _measure_all(configs: Sequence[TrainConfig], threads: int) -> list[float]:
    # Seconds of imports, needed here only.
    from detector.device import set_threads
    from detector.warmup import step_seconds

    set_threads(threads)
    return [step_seconds(config) for config in configs]


def _config(space: SearchSpace, backbone: str) -> TrainConfig:
    """A training with this backbone: a warm start or, without any, the first value of each."""
    point = dict(space.warm_start[0]) if space.warm_start else {}
    if BACKBONE in space.parameters:
        point[BACKBONE] = backbone
    for key, parameter in space.parameters.items():
        if key not in point and parameter.applies(point):
            point[key] = parameter.values[0]
    return space.train_config({key: point[key] for key in space.active(point)})
