"""Ray Tune: places trials on the machines and stops the hopeless; the rest is decided elsewhere."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optuna.trial import FrozenTrial
from ray import tune
from ray.tune.error import TuneError
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from detector.config.cli import log
from orchestrator.compare.decisions import halving_of
from orchestrator.events.kinds import Tell, untold
from orchestrator.execute.bridge import Bridge, Steps
from orchestrator.execute.bucket_trial import InBucket
from orchestrator.execute.failures import error_of, failure_of
from orchestrator.execute.hangs import HangWatch
from orchestrator.execute.memory_kills import memory_kills_reported
from orchestrator.execute.session import Session
from orchestrator.execute.trial import as_trainable, in_place
from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.requests import Requests
from orchestrator.place.cluster import machines
from orchestrator.place.waiting import Room
from orchestrator.propose.jobs import Jobs
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.space.parameters import Budget
from orchestrator.trials.job import Listener
from orchestrator.trials.records import METRIC

KEPT_S = 60.0  # that a worker waits for another trial; a new process takes some seconds


def run_search(
    session: Session,
    listeners: Sequence[Listener] = (),
    say: Callable[[str], None] = log,
    tell: Tell = untold,
) -> None:
    """Run trials until the study holds as many ended ones as the space's budget says.

    Trials are paused at rungs and the best promoted, or ASHA stops them for good, as the settings
    say. Ray must be running. A trial that fails, or reports nothing for budget.hang_minutes,
    is recorded and the search goes on. After an interruption or a crash, the same call continues
    it. `tell` hears what is decided, see `SearchJobs`.
    """
    run = session.run
    halving = halving_of(run)
    jobs = SearchJobs(run, halving, session.resources.sharing, tell)
    if not jobs.left:
        return
    scheduler = None if halving else Asha(run.space.budget)
    if scheduler:
        scheduler.replay(trial for trial in run.study.trials if trial.state.is_finished())
    run_jobs(session, jobs, listeners, scheduler, say)
    if jobs.is_exhausted:
        tried, wanted = len(run.study.trials), run.space.budget.trials
        log(f"every point of the space was tried: {tried} trials, not {wanted}")


def run_jobs(
    session: Session,
    jobs: Jobs,
    listeners: Sequence[Listener] = (),
    scheduler: Explaining | None = None,
    say: Callable[[str], None] = log,
) -> None:
    """Let Tune run the `jobs` until there are no more; what a listener raises ends it.

    `say` is told what is waited for. Tune itself tries nothing again: the jobs do, which know why a
    worker was lost.
    """
    run, resources, kept = session.run, session.resources, session.kept
    fleet = Fleet(resources, run.space.train_config, machines)
    bridge = Bridge(jobs, [fleet, session.interruption, *listeners], kept, fleet.choose)
    if (minutes := run.config.budget.hang_minutes) is not None:
        bridge.add(HangWatch(minutes, bridge.end_worker))
    scheduler = scheduler or ToTheEnd()
    scheduler.bridge = bridge
    place = InBucket(kept.bucket, kept.folder) if kept else in_place
    scratch = run.folder.resolve() / ".ray"
    shutil.rmtree(scratch, ignore_errors=True)
    # Workers of a search that was interrupted in this process hold their cores until their handles
    # are gone, which lie in cycles; a driver that waits for cores would never collect them.
    gc.collect()
    try:
        trainable = as_trainable(session.trial, place)
        tuner = _tuner(trainable, bridge, scheduler, Requests(resources, fleet), scratch)
        with (
            Room(resources, lambda: jobs.at_once, say) as room,
            memory_kills_reported(),
            unwrapped(),
        ):
            bridge.add(room)
            tuner.fit()
        bridge.raise_error()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tuner(
    trainable: Callable[[dict[str, Any]], None],
    bridge: Bridge,
    scheduler: TrialScheduler,
    requests: Requests,
    scratch: Path,
) -> tune.Tuner:
    """Tune as this project needs it: it tries nothing twice, prints nothing and keeps nothing."""
    return tune.Tuner(
        tune.with_resources(trainable, requests.of),
        tune_config=tune.TuneConfig(
            search_alg=bridge,
            scheduler=scheduler,
            num_samples=-1,  # the jobs know when it is over
            max_concurrent_trials=requests.resources.concurrent,
            # A new process costs seconds of imports; see orchestrator.execute.worker for when a
            # used one must not go on.
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[Steps(bridge), NoPrinting()],
            verbose=0,
        ),
    )


@contextmanager
def unwrapped() -> Iterator[None]:
    """What Tune met in the block, such as a full disk, in place of the error it made of that.

    It raises its own while it handles the other, and keeps that one's text alone.
    """
    try:
        yield
    except TuneError as error:
        cause: BaseException | None = error
        while isinstance(cause, TuneError):
            cause = cause.__cause__ or cause.__context__
        raise cause or error from None


class NoPrinting(TrialProgressCallback):
    """Takes the place of the callback that Tune adds, which prints even with verbose=0."""

    def log_result(self, *_: Any, **__: Any) -> None:
        """Print nothing."""

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        """Print nothing."""


class Explaining(TrialScheduler):
    """What Tune asks and tells schedulers alone: whether a trial goes on, why a worker was lost."""

    bridge: Bridge | None = None  # once the search runs

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next one; a worker that Tune keeps for it ends when none comes for a while.

        It would hold a core or a GPU, and a machine that costs money, until the search is over:
        while the last trial trains for hours no other has anything to do.
        """
        if self.bridge is not None and self.bridge.idle_s > KEPT_S:
            tune_controller._cleanup_cached_actors(force_all=True)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether it goes on after this epoch."""
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if self.bridge is not None and self.bridge.is_hopeless(trial.trial_id, result):
            return TrialScheduler.STOP
        return decision

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker was lost; the bridge hears of that right after this."""
        assert self.bridge is not None
        self.bridge.explain(trial.trial_id, failure_of(error_of(trial)))
        super().on_trial_error(tune_controller, trial)


class ToTheEnd(Explaining, FIFOScheduler):
    """Lets every job run to its end that is not hopeless."""


class Asha(Explaining, ASHAScheduler):
    """Asynchronous successive halving (Li et al., 2020) on the running best H-mean.

    At rungs of grace * factor^k epochs a trial goes on only when it is in the best
    1 / factor of those that reached the rung. Tune forgets the rungs when a search is
    resumed; `replay` fills them again.
    """

    def __init__(self, budget: Budget) -> None:
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

    def replay(self, trials: Iterable[FrozenTrial]) -> None:
        """Fill the rungs with what ended trials reported."""
        for trial in trials:
            past: Any = SimpleNamespace(trial_id=f"past-{trial.number}")
            nobody: Any = None  # ASHA never looks at the controller
            self.on_trial_add(nobody, past)
            for epoch, value in sorted(trial.intermediate_values.items()):
                self.on_trial_result(nobody, past, {"epoch": epoch, METRIC: value})
