"""Searches that train for real until they have trained a number of epochs together.

The same two as in `replay_policies.py`: Ray Tune as documented, and this project's own. Ray must be
running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policies import Ending, Heard, Rules, no_limits, tune_as_documented, until_enough
from ray import tune

from orchestrator.config.settings import SearchConfig
from orchestrator.execute.session import Session
from orchestrator.execute.trial import detector_trial
from orchestrator.execute.tuner import run_search
from orchestrator.place.resources import TrialResources
from orchestrator.results.write import copy_best
from orchestrator.run.run import Run
from orchestrator.run.study import open_study
from orchestrator.space.nested import nested
from orchestrator.space.search_space import SearchSpace
from orchestrator.store.storage import storage_url

SHIPPED = "shipped"  # below a search's folder: the weights and config of its incumbent
METRIC = "hmean"


@dataclass(frozen=True)
class Trained:
    """A trained epoch, when the search heard of it.

    trial: names its training. epoch: of that training, from 1. score: what the search
    compares. worth: mean page H-mean on the validation pages at the settings shipped with it.
    """

    trial: str
    epoch: int
    score: float
    worth: float


def incumbents(epochs: Sequence[Trained]) -> list[int]:
    """The index of the epoch with the best score after each one; of equal ones the first."""
    found: list[int] = []
    for index, epoch in enumerate(epochs):
        better = not found or epoch.score > epochs[found[-1]].score
        found.append(index if better else found[-1])
    return found


class Watch(Ending):
    """Notes each trained epoch, keeps the incumbent's detector, and ends the search.

    A report has `epoch`, `hmean`, the figure called `worth` and, as `checkpoint`, the detector of
    the trial's best epoch, in `folder`. While it is told here its trial waits, so that detector is
    of this epoch when this epoch is the new incumbent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        enough: int,
        worth: str,
        told: Callable[[Sequence[Trained]], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._folder, self._enough, self._worth, self._told = folder, enough, worth, told
        self.epochs: list[Trained] = []

    def is_enough(self) -> bool:
        """Whether so many epochs were trained."""
        return len(self.epochs) >= self._enough

    def on_trial_result(  # type: ignore[override]
        self, *, result: dict[str, Any], **_: Any
    ) -> None:
        if "error" in result:
            self.error = str(result["error"])
            return
        trial, number = result["checkpoint"], int(result["epoch"])
        known = any((e.trial, e.epoch) == (trial, number) for e in self.epochs)
        if known or self.is_enough():
            return
        self.epochs.append(
            Trained(trial, number, float(result[METRIC]), float(result[self._worth]))
        )
        if incumbents(self.epochs)[-1] == len(self.epochs) - 1:
            copy_best(self._folder / trial, self._folder / SHIPPED)
        self._told(self.epochs)


Told = Callable[[Sequence[Trained]], None]
Policy = Callable[[SearchSpace, Path, int, int, Rules, Told], list[Trained]]


def documented(
    space: SearchSpace, folder: Path, enough: int, seed: int, rules: Rules, told: Told
) -> list[Trained]:
    """Ray Tune, OptunaSearch and ASHA, as Ray's documentation puts them together.

    A trial draws one value of each setting, post-processing included, and reports after each
    epoch its H-mean there.
    """
    watch = Watch(folder, enough=enough, worth=METRIC, told=told)
    tune_as_documented(
        tune.with_parameters(
            _training(),
            fixed=space.fixed | {"train.epochs": space.budget.epochs, "train.sweep": False},
            folder=str(folder),
        ),
        space.parameters.values(),
        epochs=space.budget.epochs,
        trials=space.budget.trials,
        seed=seed,
        rules=rules,
        folder=str(folder / "tune"),
        ending=watch,
    )
    return watch.epochs


def own(
    space: SearchSpace, folder: Path, enough: int, seed: int, rules: Rules, told: Told
) -> list[Trained]:
    """This project's search, as `python -m orchestrator.search` runs it.

    A trial draws the settings of the training, reports the cross-fitted H-mean over those of
    post-processing, and pauses at rungs. The best settings over all pages are shipped.
    """
    watch = Watch(folder, enough=enough, worth="tuned_hmean", told=told)
    inner = nested(space)
    budget = {"grace_epochs": rules.grace, "reduction_factor": rules.factor}
    inner = replace(inner, budget=inner.budget.model_copy(update=budget))
    study = open_study(storage_url(folder, None), "live", resume=False)
    run = Run(folder, SearchConfig(space=space.name, seed=seed), inner, study)
    resources = TrialResources(cpus=1, gpus=0, concurrent=rules.concurrent)
    session = Session(run, detector_trial(inner, threads=1), resources, no_limits())
    until_enough(lambda: run_search(session, [Heard(watch, run)]))
    return watch.epochs


POLICIES: dict[str, Policy] = {"ray": documented, "ours": own}


def _training() -> Callable[..., None]:
    """The trainable of `documented`. A closure, so that workers need not find this file."""

    def trainable(config: dict[str, Any], fixed: dict[str, Any], folder: str) -> None:
        # Ten seconds of imports, needed in workers only.
        from detector.config.settings import TrainConfig, with_values
        from detector.training.epoch_end import EpochReport
        from detector.training.trainer import train

        trial = f"trials/{tune.get_context().get_trial_id()}"

        def report(epoch: EpochReport) -> None:
            tune.report(
                {
                    "hmean": epoch.metrics["hmean"],
                    "epoch": epoch.epoch,
                    "checkpoint": f"{trial}/checkpoint/best",
                }
            )

        settings = with_values(TrainConfig(), fixed | config)
        train(settings, Path(folder) / trial, report=report, log=lambda _: None)

    return trainable
