"""Ray Tune: places trials on the machines, stops the hopeless, retries lost workers."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from ray import tune
from ray.tune import Callback
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from detector.cli import log
from orchestrator.execute.bucket_run import BucketRun, Keeping
from orchestrator.execute.failures import error_of, failure_of
from orchestrator.execute.hangs import HangWatch
from orchestrator.execute.memory_kills import memory_kills_reported
from orchestrator.execute.trial import TrialFunction, as_trainable, in_place
from orchestrator.place.resources import TrialResources
from orchestrator.propose.halving import Halving
from orchestrator.propose.job_searcher import JobSearcher
from orchestrator.propose.proposals import HMEAN
from orchestrator.propose.sampler import StudySearcher
from orchestrator.run import study as store
from orchestrator.space.search_space import Budget, SearchSpace
from orchestrator.trials.pareto import Objectives
from orchestrator.trials.records import METRIC


def run_search(
    *,
    study: optuna.Study,
    space: SearchSpace,
    folder: Path,
    trial: TrialFunction,
    resources: TrialResources,
    seed: int,
    halving: Halving | None = None,
    objectives: Objectives = HMEAN,
    callbacks: Sequence[Callback] = (),
    hang_minutes: float | None = None,
    kept: BucketRun | None = None,
) -> None:
    """Run trials until the study holds `space.budget.trials` that have ended.

    With `halving` trials are paused at its rungs and the best promoted; without, ASHA stops them
    for good. `objectives` are what the sampler and the rungs look at. `folder` is the run's; on
    several machines it must be the same shared folder on all, unless the run is `kept` in a bucket.
    Ray must be running. A trial that fails, or reports nothing for `hang_minutes`, is recorded and
    the search goes on. After an interruption or a crash, the same call continues it.
    """
    trials = space.budget.trials
    store.enqueue(study, space.warm_start[:trials])
    searcher = StudySearcher(
        study,
        space,
        folder,
        seed=seed,
        trials=trials,
        halving=halving,
        objectives=objectives,
    )
    if searcher.is_over:
        return
    scheduler: TrialScheduler = ToTheEnd(searcher)
    if halving is None:
        scheduler = Asha(space.budget, searcher)
        scheduler.replay(store.ended(study))
    run_jobs(searcher, scheduler, folder, trial, resources, callbacks, hang_minutes, kept)
    if searcher.is_exhausted:
        tried = len(store.proposed(study))
        log(f"every point of the space was tried: {tried} trials, not {trials}")


def run_jobs(
    searcher: JobSearcher,
    scheduler: TrialScheduler,
    folder: Path,
    trial: TrialFunction,
    resources: TrialResources,
    callbacks: Sequence[Callback],
    hang_minutes: float | None = None,
    kept: BucketRun | None = None,
) -> None:
    """Let Tune run what `searcher` suggests until it says that there is no more.

    Tune itself tries nothing again: the searcher does, which knows why a worker was lost.
    """
    scratch = folder.resolve() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)
    request = tune.PlacementGroupFactory([{"CPU": resources.cpus, "GPU": resources.gpus}])
    keeping = [Keeping(kept)] if kept else []
    hangs = [HangWatch(hang_minutes, searcher)] if hang_minutes is not None else []
    try:
        tuner = tune.Tuner(
            tune.with_resources(as_trainable(trial, kept.place if kept else in_place), request),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # the searcher knows when it is over
                max_concurrent_trials=resources.concurrent,
                # A new process costs seconds of imports; see orchestrator.execute.worker for when a
                # used one must not go on.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=0),
                callbacks=[*keeping, *callbacks, *hangs, Forgetting(), NoPrinting()],
                verbose=0,
            ),
        )
        with memory_kills_reported():
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Forgetting(Callback):
    """Drops what Tune keeps of the reports of a job that is over, which the study has.

    It is half of what the driver's memory grows by in a search of many trials.
    """

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        """Called last for a job, after the searcher and the other callbacks."""
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()
        trial.last_result.pop("page_hmeans", None)


class NoPrinting(TrialProgressCallback):
    """Takes the place of the callback that Tune adds, which prints even with verbose=0."""

    def log_result(self, *_: Any, **__: Any) -> None:
        """Print nothing."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Print nothing."""


class Explaining(TrialScheduler):
    """Tells the searcher why a worker was lost, which Tune says here alone."""

    _searcher: JobSearcher

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker was lost; the searcher hears of that right after this."""
        self._searcher.explain_failure(trial.trial_id, failure_of(error_of(trial)))
        super().on_trial_error(tune_controller, trial)


class ToTheEnd(Explaining, FIFOScheduler):
    """Lets every job run to its end."""

    def __init__(self, searcher: JobSearcher) -> None:
        super().__init__()
        self._searcher = searcher


class Asha(Explaining, ASHAScheduler):
    """Asynchronous successive halving (Li et al., 2020) on the running best H-mean.

    At rungs of grace * factor^k epochs a trial goes on only when it is in the best
    1 / factor of those that reached the rung. Tune forgets the rungs when a search is
    resumed; `replay` fills them again.
    """

    def __init__(self, budget: Budget, searcher: StudySearcher) -> None:
        super().__init__(
            time_attr="epoch",
            metric=METRIC,
            mode="max",
            max_t=budget.epochs,
            grace_period=budget.grace_epochs,
            reduction_factor=budget.reduction_factor,
            # A trial in its last epoch ends by itself and may finish its files.
            stop_last_trials=False,
        )
        self._searcher = searcher

    def replay(self, trials: Iterable[FrozenTrial]) -> None:
        """Fill the rungs with what ended trials reported."""
        for trial in trials:
            past: Any = SimpleNamespace(trial_id=f"past-{trial.number}")
            nobody: Any = None  # ASHA never looks at the controller
            self.on_trial_add(nobody, past)
            for epoch, value in sorted(trial.intermediate_values.items()):
                self.on_trial_result(nobody, past, {"epoch": epoch, METRIC: value})
