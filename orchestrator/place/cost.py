"""What a search will cost at most, from one measured training step of each network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from detector.config.settings import TrainConfig
from detector.core.errors import JobError
from detector.model.graph.starts import NONE
from orchestrator.space.conditions import INIT, starts
from orchestrator.space.parameters import Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.duration import duration

if TYPE_CHECKING:  # seconds of imports
    from detector.training.step_cost import StepCost

T = TypeVar("T")

BACKBONE = "model.backbone"
# What the memory of a training depends on: numbers of which the highest counts, or the one that
# stands for something else (a crop of 0 is a whole page), and choices.
SIZES = (
    *("train.batch_size", "augment.crop_px", "model.neck_channels"),
    *("data.longest_side_px", "preprocess.shortest_side_px", "preprocess.test_scale"),
)
KINDS = (
    *("model.neck", "model.fusion", "model.upsample", "train.amp", "train.accumulate"),
    *("optimizer.name", "preprocess.tile_px"),
)
Measure: TypeAlias = "Callable[[Sequence[TrainConfig]], list[StepCost]]"


def estimate(
    space: SearchSpace, *, pages: int, at_once: int, measure: Measure, sharing: int = 1
) -> str:
    """What a search on `pages` training pages takes at most: none stopped, all the slowest.

    `measure` gives what a step takes of each of some trainings; there is one for each network,
    with the other settings of the first warm start. Of the trials at once, `sharing` are on the
    same GPU, where at worst they wait for each other's steps.
    """
    names, budget = networks(space), space.budget
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


def networks(space: SearchSpace) -> list[str]:
    """What the networks of trials are called: whole detectors to start from, and backbones."""
    begun = starts(space.fixed, space.parameters)
    whole = [name for name in begun if name != NONE]
    return [*_backbones(space), *whole] if NONE in begun else whole


def check_starts(space: SearchSpace) -> None:
    """InputError unless trials may start from their whole detectors, whatever their backbone."""
    whole = [name for name in starts(space.fixed, space.parameters) if name != NONE]
    if not whole:
        return
    from detector.inference.networks import require_start  # seconds of imports

    for name in whole:
        point = _point(space, name)
        others = [{BACKBONE: one} for one in _backbones(space)] if BACKBONE in point else [{}]
        for other in others:
            require_start(space.train_config(_filled(space, point | other)))


def _backbones(space: SearchSpace) -> list[str]:
    parameter = space.parameters.get(BACKBONE)
    if parameter is not None:
        return [str(value) for value in parameter.values]
    return [str(space.fixed.get(BACKBONE, TrainConfig().model.backbone))]


def measured_apart(configs: Sequence[TrainConfig], *, threads: int) -> list[StepCost]:
    """What a step of each training takes on this machine.

    In a process of its own, which gives the memory of a GPU back. Raises InputError where a
    training cannot run, and JobError when a step fails or the process is killed.
    """
    return _apart(_measure_all, list(configs), threads)


def measured_largest(space: SearchSpace, *, threads: int) -> dict[str, StepCost]:
    """What a step takes of the largest training with each network; else as `measured_apart`."""
    return _apart(measure_largest, space, threads)


def _apart(measure: Callable[[Any, int], T], of: Any, threads: int) -> T:
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(measure, of, threads).result()
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


def most_bytes(config: TrainConfig) -> int:
    """The most that the tensors of a training take of a GPU, validation included."""
    from detector.training.step_cost import predicted_bytes

    return max(predicted_bytes(config, training=training) for training in (True, False))


def measure_largest(space: SearchSpace, threads: int) -> dict[str, StepCost]:
    """As `measured_largest`, in this process."""
    names = networks(space)
    configs = [largest(space, name, most_bytes) for name in names]
    return dict(zip(names, _measure_all(configs, threads), strict=True))


def sizes(space: SearchSpace) -> dict[str, int]:
    """Bytes of the weights of an example of each network, by its name."""
    from detector.training.step_cost import weights_bytes  # seconds of imports

    return {name: weights_bytes(example(space, name)) for name in networks(space)}


def example(space: SearchSpace, network: str) -> TrainConfig:
    """A training with this network: a warm start or, without any, the first value of each."""
    return space.train_config(_point(space, network))


def largest(
    space: SearchSpace, network: str, bytes_of: Callable[[TrainConfig], int]
) -> TrainConfig:
    """The training with this network that takes the most memory, by `bytes_of`."""
    point = _point(space, network)
    for key in (*SIZES, *KINDS):
        if key in point:
            points = [
                _filled(space, point | {key: value}) for value in _extremes(space.parameters[key])
            ]
            point = max(points, key=lambda point: bytes_of(space.train_config(point)))
    return space.train_config(point)


def _extremes(parameter: Parameter) -> list[Any]:
    """The values among which is the one that takes the most."""
    values = parameter.values
    if parameter.key in KINDS:
        return list(values)
    return [*(v for v in values if not v), *sorted(v for v in values if v)[-1:]]


def _point(space: SearchSpace, network: str) -> dict[str, Any]:
    point = dict(space.warm_start[0]) if space.warm_start else {}
    whole = network in starts(space.fixed, space.parameters)
    chosen = {INIT: network} if whole else {INIT: NONE, BACKBONE: network}
    return _filled(space, point | {k: v for k, v in chosen.items() if k in space.parameters})


def _filled(space: SearchSpace, point: dict[str, Any]) -> dict[str, Any]:
    """The point's settings that apply, with the first value of each that has none, in order."""
    found: dict[str, Any] = {}
    for key, parameter in space.parameters.items():
        if parameter.applies(found):
            found[key] = point.get(key, parameter.values[0])
    return found
