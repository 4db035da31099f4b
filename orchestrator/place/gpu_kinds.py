"""The kinds of GPU in a cluster: what each holds, by a step measured on one machine of it.

A kind is what Ray calls a machine's accelerator, such as A100-80G. Machines to which it gives no
such label are one kind together, which has no name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError

from detector.config.cli import log
from detector.config.settings import TrainConfig, network_name
from detector.core.errors import JobError
from orchestrator.place.cost import measure_largest, most_bytes
from orchestrator.place.resources import LABEL, TrialResources
from orchestrator.space.search_space import SearchSpace

if TYPE_CHECKING:  # seconds of imports
    from detector.training.step_cost import StepCost

PATIENCE_S = 600.0  # for a GPU that is free, imports and steps
Measure = Callable[[SearchSpace, int], "dict[str, StepCost]"]
Needed = Callable[[TrainConfig], int]


@dataclass(frozen=True)
class Kind:
    """A kind of GPU, with what a step of the largest training with each network took of it."""

    name: str
    steps: dict[str, StepCost]

    @property
    def trial_bytes(self) -> int:
        """What the largest trial takes."""
        return max(step.memory_bytes or 0 for step in self.steps.values())

    @property
    def gpu_bytes(self) -> int:
        """What there is on one."""
        return min(step.gpu_bytes or 0 for step in self.steps.values())

    @property
    def seconds(self) -> float:
        """Of a step, the geometric mean over the networks."""
        return geometric_mean(step.seconds for step in self.steps.values())


def measured_kinds(
    space: SearchSpace,
    *,
    cpus: int,
    measure: Measure = measure_largest,
    patience_s: float = PATIENCE_S,
) -> list[Kind]:
    """All kinds that have a machine now, measured; says where that failed, and leaves them out.

    Ray must be running. A task with so many `cpus` and a GPU for itself takes the steps; its
    process ends with it, which gives the memory back.
    """
    gpus = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("GPU", 0) >= 1]
    names = sorted({node["Labels"].get(LABEL, "") for node in gpus})
    task = ray.remote(num_cpus=cpus, num_gpus=1, max_calls=1, max_retries=0)(measure)
    begun = {
        name: task.options(label_selector=selector([name], names)).remote(space, cpus)
        for name in names
    }
    waited = list(begun.values())
    done, _ = ray.wait(waited, num_returns=len(begun), timeout=patience_s) if begun else ([], [])
    found = []
    for name, task_ref in begun.items():
        try:
            steps = ray.get(task_ref, timeout=0)
            if all(step.memory_bytes for step in steps.values()):
                found.append(Kind(name, steps))
                continue
            reason = "torch sees no GPU there"
        except (RayError, JobError) as error:
            if task_ref not in done:  # Ray may abort where a task that has ended is cancelled
                ray.cancel(task_ref, force=True)
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        log(f"resources.gpu=auto: nothing was measured on {name or 'unnamed GPUs'}: {reason}")
    return found


def selector(wanted: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Ray's selector of the machines of the `wanted` kinds, of all that are `known`; {} for all."""
    others = sorted(set(known) - set(wanted))
    if not others:
        return {}
    if "" in wanted:
        return {LABEL: f"!in({','.join(others)})"}
    return {LABEL: f"in({','.join(wanted)})"}


def holding_kinds(
    config: TrainConfig, resources: TrialResources, needed: Needed = most_bytes
) -> list[str]:
    """The kinds of which a trial's share holds a training; all where none does.

    It works through its batch in parts then. `needed` counts the bytes, before what was measured
    over them.
    """
    kinds = resources.kinds
    if len(kinds) < 2:
        return list(kinds)
    from detector.training.step_cost import CONTEXT_BYTES, FACTOR  # seconds of imports

    try:
        count = needed(config)
    except JobError:  # of a network whose step cannot be counted
        return list(kinds)
    taken = count * resources.memory_factors.get(network_name(config), FACTOR) + CONTEXT_BYTES
    holding = [name for name, k in kinds.items() if taken <= min(k.share, 1.0) * k.bytes]
    return holding or list(kinds)
