"""What each trial gets of the machines, and what that makes the search cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from detector.cli import log
from detector.errors import InputError, JobError
from orchestrator.config.settings import SearchConfig
from orchestrator.place.cluster import cluster_address
from orchestrator.place.cost import estimate, measured_apart
from orchestrator.place.packing import gpu_share, sharing
from orchestrator.place.resources import TrialResources, allot, this_machine
from orchestrator.space.search_space import SearchSpace


def has_gpu(config: SearchConfig) -> bool:
    """Whether trials will train on GPUs; a cluster is taken to have some."""
    if config.resources.gpus_per_trial is not None:
        return config.resources.gpus_per_trial > 0
    return cluster_address() is not None or this_machine().gpus > 0


def share(
    config: SearchConfig,
    space: SearchSpace,
    *,
    machines: Sequence[Any] | None = None,
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
    return resources


def packed_share(
    config: SearchConfig, space: SearchSpace, local: TrialResources | None
) -> TrialResources | None:
    """`local`; with resources.gpu=auto, for as many trials on a GPU as its memory holds."""
    if config.resources.gpu == "whole":
        return local
    if local is None:
        raise InputError(
            "resources.gpu: auto measures a step on this machine, but trials run on the "
            "cluster's; give their share instead, such as resources.gpus_per_trial=0.5"
        )
    if local.gpus == 0:
        return local
    gpus = gpu_share(
        space,
        this_machine(),
        cpus_per_trial=config.resources.cpus_per_trial,
        concurrent=config.budget.concurrent,
        measure=partial(measured_apart, threads=local.cpus),
        log=log,
    )
    return share(config, space, gpus=gpus)


def cost_line(space: SearchSpace, pages: int, local: TrialResources | None) -> str:
    """What the search costs at most.

    On a cluster nothing can be measured from here, and a step that fails, for want of memory
    say, fails its own trials only. InputError for what no trial could be trained with.
    """
    reason = "trials run on the cluster's machines"
    if local is not None:
        measure = partial(measured_apart, threads=local.cpus)
        found = partial(estimate, space, pages=pages, measure=measure)
        try:
            return str(found(at_once=local.concurrent or 1, sharing=sharing(local)))
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
