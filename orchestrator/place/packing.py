"""How many trials share a GPU, from the memory that one of them was measured to take."""

from __future__ import annotations

import math
from collections.abc import Callable

from detector.errors import JobError
from orchestrator.place.cost import Measure, backbones, largest
from orchestrator.place.resources import Machine, TrialResources, packed
from orchestrator.space.search_space import SearchSpace


def gpu_share(
    space: SearchSpace,
    machine: Machine,
    *,
    measure: Measure,
    log: Callable[[str], None],
    cpus_per_trial: int | None = None,
    concurrent: int | None = None,
) -> float:
    """The share of a GPU of `machine` for each trial of a search; says how it came to it.

    `measure` takes a step of the largest training with each backbone. Where it cannot, a trial
    gets a whole GPU: the search would be wrong to fail before a trial has.
    """
    try:
        steps = measure([largest(space, name) for name in backbones(space)])
    except JobError as error:
        log(f"resources.gpu=auto: a trial gets a whole GPU, as no step was measured: {error}")
        return 1.0
    trial = max(step.memory_bytes or 0 for step in steps)
    gpu = min(step.gpu_bytes or 0 for step in steps)
    at_once = min(space.budget.trials, concurrent or space.budget.trials)
    share = packed(
        trial,
        gpu,
        cores=int(machine.cpus / machine.gpus) // (cpus_per_trial or 1),
        trials=math.ceil(at_once / machine.gpus),
    )
    log(
        f"resources.gpu=auto: the largest trial takes {trial / 1e9:.1f} of {gpu / 1e9:.1f} GB, so "
        f"a trial gets {share:g} GPU"
    )
    return share


def sharing(resources: TrialResources) -> int:
    """How many trials are on the same GPU when all that may are running."""
    if not 0 < resources.gpus < 1:
        return 1
    most = int(1 / resources.gpus + 1e-9)
    return most if resources.concurrent is None else min(most, resources.concurrent)
