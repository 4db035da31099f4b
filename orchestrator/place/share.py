"""What each trial gets of the machines, from the memory that one takes; what the search costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from detector.config.cli import log
from detector.core.errors import InputError, JobError
from orchestrator.config.settings import SearchConfig
from orchestrator.place.cost import estimate, measured_apart, measured_largest
from orchestrator.place.gpu_kinds import Kind, measured_kinds
from orchestrator.place.joining import cluster_address
from orchestrator.place.resources import (
    GpuKind,
    Machine,
    TrialResources,
    allot,
    packed,
    slots,
    this_machine,
)
from orchestrator.space.search_space import SearchSpace

if TYPE_CHECKING:  # seconds of imports
    from detector.training.step_cost import StepCost


def has_gpu(config: SearchConfig) -> bool:
    """Whether trials will train on GPUs; a cluster is taken to have some."""
    if config.resources.gpus_per_trial is not None:
        return config.resources.gpus_per_trial > 0
    return cluster_address() is not None or this_machine().gpus > 0


def share(
    config: SearchConfig,
    space: SearchSpace,
    *,
    machines: Sequence[Machine] | None = None,
    gpus: float | None = None,
) -> TrialResources:
    """What a trial reserves, on this machine or among a cluster's; of `gpus`, if given."""
    resources = allot(
        [this_machine()] if machines is None else machines,
        trials=space.budget.trials,
        gpus_per_trial=config.resources.gpus_per_trial if gpus is None else gpus,
        cpus_per_trial=config.resources.cpus_per_trial,
        concurrent=config.budget.concurrent,
        growing=machines is not None,
    )
    if space.fixed.get("train.device") == "cuda" and resources.gpus == 0:
        raise InputError(
            "train.device: cuda needs a GPU per trial; use auto, or give "
            "resources.gpus_per_trial on a machine with a GPU"
        )
    _require_a_gpu_each(space, resources.gpus)
    return resources


def _require_a_gpu_each(space: SearchSpace, gpus: float) -> None:
    """InputError where several processes, or torch.compile, do not fit a trial's GPUs."""
    processes = space.fixed.get("train.processes")
    if not gpus or space.fixed.get("train.device") == "cpu":
        return
    if processes is not None and processes > max(gpus, 1):
        raise InputError(
            f"train.processes: {processes} processes need a GPU each, and a trial gets {gpus:g}; "
            f"give resources.gpus_per_trial={processes} as well, or leave train.processes out"
        )
    if gpus > 1 and processes is None and space.fixed.get("train.compile"):
        raise InputError(
            f"train.compile: true is for one process, and a trial gets {gpus:g} GPUs, one for each "
            "of its processes; set train.compile=false, or resources.gpus_per_trial=1"
        )


def packed_share(
    config: SearchConfig, space: SearchSpace, local: TrialResources | None
) -> TrialResources | None:
    """`local`; with resources.gpu=auto, for as many trials on a GPU as its memory holds.

    None on a cluster, whose machines `cluster_share` asks once it is joined.
    """
    if config.resources.gpu == "whole" or local is None or local.gpus == 0:
        return local
    try:
        steps = measured_largest(space, threads=local.cpus)
    except JobError as error:
        # The search would be wrong to fail before a trial has.
        log(f"resources.gpu=auto: a trial gets a whole GPU, as no step was measured: {error}")
        return share(config, space, gpus=1.0)
    resources = share(config, space, gpus=_gpu_share(config, space, steps))
    return replace(resources, memory_factors=_factors(steps))


def cluster_share(
    config: SearchConfig,
    space: SearchSpace,
    machines: Sequence[Machine],
    measured: Callable[..., list[Kind]] = measured_kinds,
) -> TrialResources:
    """What a trial reserves on a cluster that was joined.

    With resources.gpu=auto as many trials are on a GPU as each kind of it holds, by the kinds that
    have a machine now.
    """
    resources = share(config, space, machines=machines)
    if config.resources.gpu == "whole" or resources.gpus == 0:
        return resources
    cpus = config.resources.cpus_per_trial or 1
    kinds = measured(space, cpus=cpus)
    if not kinds:
        log("resources.gpu=auto: a trial gets a whole GPU, as no step was measured")
        return resources
    gpus = sum(machine.gpus for machine in machines)
    cores = min(int(machine.cpus / machine.gpus) for machine in machines if machine.gpus)
    trials = min(space.budget.trials, config.budget.concurrent or space.budget.trials)
    shares = {}
    for kind in kinds:
        shares[kind.name] = packed(
            kind.trial_bytes, kind.gpu_bytes, cores=cores // cpus, trials=math.ceil(trials / gpus)
        )
        log(
            f"resources.gpu=auto: on {kind.name or 'a GPU'} the largest trial takes "
            f"{kind.trial_bytes / 1e9:.1f} of {kind.gpu_bytes / 1e9:.1f} GB"
        )
    log(f"resources.gpu=auto: a trial gets {_in_words(shares)}")
    resources = share(config, space, machines=machines, gpus=max(shares.values()))
    if config.resources.cpus_per_trial is None:
        resources = replace(resources, cpus=_even_cores(machines, shares))
    return replace(
        resources,
        memory_factors=_most([_factors(kind.steps) for kind in kinds]),
        kinds={k.name: GpuKind(k.gpu_bytes, shares[k.name], k.seconds) for k in kinds},
    )


def _even_cores(machines: Sequence[Machine], shares: Mapping[str, float]) -> int:
    """Cores for a trial where each kind of GPU has its share."""
    most = max(shares.values())
    held = {m: slots(m, cpus=1, gpus=shares.get(m.kind, most)) for m in machines if m.gpus}
    return max(1, min(int(m.cpus // max(count, 1)) for m, count in held.items()))


def _in_words(shares: Mapping[str, float]) -> str:
    """What a trial gets of each kind of GPU."""
    if len(set(shares.values())) == 1:
        return f"{max(shares.values()):g} GPU"
    return ", ".join(f"{share:g} {kind or 'other'} GPU" for kind, share in shares.items())


def _factors(steps: Mapping[str, StepCost]) -> dict[str, float]:
    return {name: step.factor for name, step in steps.items() if step.factor is not None}


def _most(factors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The largest of each name."""
    return {name: max(each.get(name, 0.0) for each in factors) for name in factors[0]}


def _gpu_share(config: SearchConfig, space: SearchSpace, steps: Mapping[str, StepCost]) -> float:
    """The share of a GPU of this machine for each trial of a search; says how it came to it.

    `steps` are those of the largest training with each network.
    """
    machine, trials = this_machine(), space.budget.trials
    trial = max(step.memory_bytes or 0 for step in steps.values())
    gpu = min(step.gpu_bytes or 0 for step in steps.values())
    share = packed(
        trial,
        gpu,
        cores=int(machine.cpus / machine.gpus) // (config.resources.cpus_per_trial or 1),
        trials=math.ceil(min(trials, config.budget.concurrent or trials) / machine.gpus),
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
    return min(most, resources.concurrent or most)


def cost_line(space: SearchSpace, pages: int, local: TrialResources | None) -> str:
    """What the search costs at most.

    On a cluster nothing can be measured from here, and a step that fails, for want of memory
    say, fails its own trials only. InputError for what no trial could be trained with.
    """
    reason = "trials run on the cluster's machines"
    if local is not None:
        measure = partial(measured_apart, threads=local.cpus)
        at_once, shared = local.concurrent or 1, sharing(local)
        try:
            return estimate(space, pages=pages, at_once=at_once, measure=measure, sharing=shared)
        except JobError as error:
            reason = str(error)
    budget = space.budget
    return (
        f"cost: {budget.trials} trials x {budget.epochs} epochs on {pages} pages at most; not "
        f"measured: {reason}"
    )


def require_gpus_for_their_hours(config: SearchConfig, local: TrialResources | None) -> None:
    """InputError for a limit on GPU hours where trials hold no GPU and would never reach it."""
    hours = config.budget.gpu_hours
    if hours is not None and local is not None and not local.gpus:
        raise InputError(
            f"budget.gpu_hours: trials hold no GPU here, so {hours:g} would never be reached; "
            "limit budget.minutes or budget.total_epochs instead"
        )
