"""Trainings that a command makes with the settings of a run's best trial, after its search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from detector.config.cli import log
from detector.core.errors import JobError
from detector.core.files import require_writable
from orchestrator.config.limits import Limits, Watch
from orchestrator.execute.session import Session
from orchestrator.execute.trial import TrialFunction, detector_trial
from orchestrator.execute.tuner import run_jobs
from orchestrator.place.cluster import cluster_address, connected
from orchestrator.place.interruption import Interruption
from orchestrator.place.preflight import require_ready
from orchestrator.place.resources import describe, this_machine
from orchestrator.place.share import cluster_share, packed_share, share
from orchestrator.place.waiting import require_fit
from orchestrator.propose.again import Training
from orchestrator.propose.kept import KeptJobs, KeptTrainings
from orchestrator.run import run_folder
from orchestrator.run.bucket_run import kept
from orchestrator.run.endings import explained
from orchestrator.run.run import Run, stored_run
from orchestrator.run.spending import spending
from orchestrator.run.trial_data import copied_data

T = TypeVar("T")


def opened(folder: Path) -> Run:
    """The run in a folder that can be written, its data on this machine; InputError if not so."""
    run = stored_run(folder)
    require_writable("run", run.folder, folder=True)
    return replace(run, space=run.space.with_fixed(copied_data(run.config)))


def done_in(run: Run, again: str, work: Callable[[Interruption], T]) -> T | None:
    """What `work` gives with the run's folder to itself; `again` is the command that goes on.

    None where the user has stopped it, who is told how to go on.
    """
    advice = f"interrupted; every finished epoch is kept. To go on:\n  {again}"
    with (
        run_folder.locked(run.folder),
        Interruption(advice) as interruption,
        explained(run.folder, again),
        kept(run.config, run.folder),
    ):
        try:
            return work(interruption)
        except KeyboardInterrupt:
            log(advice)
            return None


def train_again(
    run: Run,
    left: Sequence[Training],
    known: KeptTrainings,
    trial: TrialFunction | None,
    interruption: Interruption,
) -> None:
    """Make the trainings, at once where the machines hold them, and keep what they gave.

    Starts or joins Ray. `trial` replaces the training. Raises InputError where this machine or the
    cluster cannot hold one, and JobError when one has failed, after the others.
    """
    require_ready()
    budget = run.space.budget.model_copy(update={"trials": len(left)})
    space, config = replace(run.space, budget=budget), run.config
    local = None if cluster_address() else packed_share(config, space, share(config, space))
    with connected(this_machine()) as machines:
        resources = local or cluster_share(config, space, machines)
        require_fit(resources)
        log(describe(resources))
        trial = trial or detector_trial(
            space,
            threads=resources.cpus,
            gpus=resources.gpus,
            memory_factors=resources.memory_factors,
            data_from=config.data_from,
        )
        watch = Watch(Limits(), partial(spending, run.study), gpus=resources.gpus)
        jobs = KeptJobs(known, left, log, resources.sharing)
        run_jobs(Session(run, trial, resources, watch, interruption), jobs)
    if jobs.failed:
        reasons = [f"{name}: {reason}" for name, reason in jobs.failed.items()]
        raise JobError("nothing can be said without these trainings\n" + "\n".join(reasons))
