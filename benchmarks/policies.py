"""What both search benchmarks share: rules, Ray Tune as documented, and the end of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune import Callback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from stand_in import StandIns, tell

from detector.core.errors import InputError, JobError
from orchestrator.config.limits import Limits, Spending, Watch
from orchestrator.execute.tuner import NoPrinting
from orchestrator.run.run import Run
from orchestrator.space.parameters import Parameter
from orchestrator.trials.job import Listener, TrialJob
from orchestrator.trials.records import TrialState

METRIC = "hmean"  # what a trial reports to Ray Tune


@dataclass(frozen=True)
class Rules:
    """What all policies share: rungs at grace * factor^k epochs, trials at once."""

    grace: int
    factor: int
    concurrent: int


class EnoughError(Exception):
    """The search has trained what it may."""


class Ending(Callback):
    """Ends a search when there is enough, or when a trial failed, which is no part of the plan."""

    trial = "trial"  # what messages call one

    def __init__(self) -> None:
        self.error: str | None = None  # that a trial reported
        self._failed: Any = None

    def is_enough(self) -> bool:
        """Whether the search may end."""
        raise NotImplementedError

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:  # type: ignore[override]
        self._failed = trial

    def on_step_end(self, **_: Any) -> None:  # type: ignore[override]
        """Raise what there is; anywhere else Tune would wrap it in an error of its own."""
        if self._failed is not None:  # Tune writes down why only after it has told the callbacks
            file = self._failed.error_file
            self.error = Path(file).read_text().strip() if file else "Tune does not say why"
        if self.error is not None:
            raise JobError(f"a {self.trial} failed: {self.error}")
        if self.is_enough():
            raise EnoughError

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that is not used."""
        return {}


class Heard(Listener):
    """Tells an `Ending` what a search of this project tells its listeners."""

    def __init__(self, ending: Ending, run: Run) -> None:
        self._ending, self._run = ending, run

    def step(self) -> None:
        """Raise what there is."""
        self._ending.on_step_end()

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:  # noqa: ARG002
        """An epoch is over."""
        self._ending.on_trial_result(result=dict(report))  # type: ignore[call-arg]

    def ended(self, job: TrialJob) -> None:
        """A trial that failed is no part of the plan."""
        record = self._run.study.record(job.number)
        if record.state is TrialState.FAILED:
            self._ending.error = record.reason

    lost = ended


def no_limits() -> Watch:
    """A search that runs until its `Ending` says so."""
    return Watch(Limits(), lambda: Spending(0, 0.0, 0), gpus=0)


def tune_as_documented(
    trainable: Any,
    space: Iterable[Parameter],
    *,
    epochs: int,
    trials: int,
    seed: int,
    rules: Rules,
    folder: str,
    ending: Ending,
    stand_ins: StandIns | None = None,
) -> None:
    """Ray Tune, OptunaSearch and ASHA, as Ray's documentation puts them together.

    A trial draws one value of each setting of `space` and reports `METRIC` after each epoch.
    trials: at most; -1 is no limit, as Ray has it. stand_ins: what is trained in place of points.
    """
    drawn, searcher, scheduler = documented_parts(
        space, epochs=epochs, seed=seed, rules=rules, stand_ins=stand_ins
    )
    tuner = tune.Tuner(
        trainable,
        param_space=drawn,
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=trials,
            max_concurrent_trials=rules.concurrent,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            callbacks=[ending, NoPrinting()],
            verbose=0,
        ),
    )
    until_enough(tuner.fit)


class ToldOptunaSearch(OptunaSearch):
    """Ray Tune's searcher, whose trials have the settings of the trainings that they get."""

    def __init__(self, stand_ins: StandIns, *, seed: int) -> None:
        super().__init__(seed=seed)
        self._stand_ins = stand_ins

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The point that is trained."""
        proposed = super().suggest(trial_id)
        if proposed is None:
            return None
        point = self._stand_ins.of(proposed)
        study: Any = self._ot_study  # which it has by now
        tell(study, self._ot_trials[trial_id]._trial_id, point)
        return point


def documented_parts(
    space: Iterable[Parameter],
    *,
    epochs: int,
    seed: int,
    rules: Rules,
    stand_ins: StandIns | None = None,
) -> tuple[dict[str, Any], OptunaSearch, ASHAScheduler]:
    """What Ray Tune draws, the searcher that does, and the scheduler that stops trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return (
        {parameter.key: as_tune_has_it(parameter) for parameter in space},
        ToldOptunaSearch(stand_ins, seed=seed) if stand_ins else OptunaSearch(seed=seed),
        ASHAScheduler(max_t=epochs, grace_period=rules.grace, reduction_factor=rules.factor),
    )


def as_tune_has_it(parameter: Parameter) -> Any:
    """What Ray Tune draws a setting from."""
    if parameter.kind == "choice":
        return tune.choice(list(parameter.values))
    low, high = parameter.values
    return (
        tune.loguniform(low, high) if parameter.kind == "log_uniform" else tune.uniform(low, high)
    )


def until_enough(search: Callable[[], object]) -> None:
    """Run a search until its `Ending` says so, or to its own end."""
    with suppress(EnoughError):
        search()


def chosen(text: str, policies: Mapping[str, Any], *, factor: int) -> list[str]:
    """The policies of a command line; InputError for one that does not exist, or a factor of 1."""
    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in policies]:
        raise InputError(
            f"policies: {unknown[0]!r} is not one of {', '.join(policies)}; list some with commas"
        )
    if factor < 2:
        raise InputError(f"factor: must be a whole number from 2, got {factor}")
    return names
