"""Searches that look trainings up in a table: Ray Tune as documented, this project's own, others.

All run for real, the first two on Ray, with Optuna; only the training is replaced. Ray must be
running. `optuna_policies.py` has those that need none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from begun_with import NOTHING, Points, behind, of_an_earlier_run
from optuna_policies import i_epoch, one_by_one, optuna_hyperband, pasha, random_search
from policies import Ending, Heard, Rules, no_limits, tune_as_documented, until_enough
from ray import tune
from ray_alone import documented_alone
from replay import Arrival, Table, Yardstick
from stand_in import rows_of
from table_run import run_over

from orchestrator.compare.decisions import halving_of
from orchestrator.config.settings import SearchConfig
from orchestrator.execute.session import Session
from orchestrator.execute.trial import TrialFunction
from orchestrator.execute.tuner import run_search
from orchestrator.place.resources import TrialResources
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.run.run import Run
from orchestrator.space.parameters import Budget
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import TrialJob

CAP = 3000  # trials of ours on a grid, more than can be begun

Policy = Callable[[Table, Yardstick, int, Rules], None]


class Watch(Ending):
    """Tells a yardstick of each trained epoch in the order of arrival, and ends the search."""

    trial = "replayed trial"

    def __init__(self, yardstick: Yardstick, table: Table, *, nested: bool) -> None:
        super().__init__()
        self._yardstick, self._table, self._nested = yardstick, table, nested

    def is_enough(self) -> bool:
        """Whether the yardstick has seen what it needs."""
        return self._yardstick.over

    def on_trial_result(  # type: ignore[override]
        self, *, result: dict[str, Any], **_: Any
    ) -> None:
        if "error" in result:
            self.error = str(result["error"])
        elif result["trained"] and not self._yardstick.over:
            score, place = float(result["hmean"]), (result["row"], result["epoch"] - 1)
            worth = float(self._table.shipped[place]) if self._nested else score
            self._yardstick.add(Arrival(score, worth, self._table.cost(*place)))


def documented(
    table: Table, yardstick: Yardstick, seed: int, rules: Rules, *, nested: bool = False
) -> None:
    """Ray Tune, OptunaSearch and ASHA, as Ray's documentation puts them together.

    One value of each setting of the training and, unless `nested`, of post-processing is drawn
    for a trial, which reports its H-mean over all pages there after each epoch. When `nested`,
    it reports the cross-fitted H-mean over all settings instead.
    """
    with tempfile.TemporaryDirectory() as folder:
        tune_as_documented(
            _trainable(table, nested=nested),
            table.searched(nested=nested),
            epochs=table.epochs,
            trials=-1,
            seed=seed,
            rules=rules,
            folder=folder,
            ending=Watch(yardstick, table, nested=nested),
            stand_ins=table.stand_ins(),
        )


@contextmanager
def _begun(
    table: Table,
    seed: int,
    rules: Rules,
    *,
    search: Mapping[str, str],
    nested: bool = True,
    warm_start: Sequence[dict[str, Any]] = (),
) -> Iterator[Run]:
    """A run of this project that has proposed nothing yet; its folder is gone in the end.

    When `nested`, trials differ in their training only and report the cross-fitted H-mean;
    otherwise post-processing is drawn too, as in `documented`. `search` is that section, and
    `warm_start` the points that it begins with.
    """
    searched_keys = {parameter.key for parameter in table.space}
    space = SearchSpace(
        name="replay",
        description="",
        fixed={k: v for k, v in table.about.items() if "." in k and k not in searched_keys},
        parameters={parameter.key: parameter for parameter in table.searched(nested=nested)},
        warm_start=tuple(warm_start),
        budget=Budget(
            trials=len(table.configs) if table.ranges else CAP,
            epochs=table.epochs,
            grace_epochs=rules.grace,
            reduction_factor=rules.factor,
        ),
    )
    config = SearchConfig.model_validate({"space": "replay", "seed": seed, "search": search})
    with tempfile.TemporaryDirectory() as name:
        yield run_over(table, Path(name), space, config)


def own(
    table: Table,
    yardstick: Yardstick,
    seed: int,
    rules: Rules,
    *,
    nested: bool = True,
    **search: str,
) -> None:
    """This project's search, as `python -m orchestrator.search` runs it; see `_begun`."""
    watch = Watch(yardstick, table, nested=nested)
    with _begun(table, seed, rules, search=search, nested=nested) as run:
        trial = replayed_trial(table, nested=nested)
        resources = TrialResources(cpus=1, gpus=0, concurrent=rules.concurrent)
        session = Session(run, trial, resources, no_limits())
        until_enough(lambda: run_search(session, [Heard(watch, run)]))


def own_alone(
    table: Table,
    yardstick: Yardstick,
    seed: int,
    rules: Rules,
    *,
    begun_with: Points = NOTHING,
    **search: str,
) -> None:
    """What this project's search decides, without Ray: one job after the other, in this process.

    With one trial at a time it is the search of `own`, epoch by epoch, in a hundredth of the time.
    begun_with: gives its warm starts.
    """
    watch = Watch(yardstick, table, nested=True)
    with _begun(table, seed, rules, search=search, warm_start=begun_with(table)) as run:
        jobs, heard = SearchJobs(run, halving_of(run)), Heard(watch, run)
        trial = replayed_trial(table, nested=True)
        until_enough(lambda: _one_by_one(jobs, trial, heard))


def _one_by_one(jobs: SearchJobs, trial: TrialFunction, heard: Heard) -> None:
    while (job := jobs.next_job()) is not None:
        job.folder.mkdir(parents=True, exist_ok=True)
        told: list[dict[str, Any]] = []
        trial(job, told.append)
        for report in told:
            jobs.reported(job, report)
            heard.reported(job, report)
            heard.step()
        jobs.ended(job, told[-1])


ON_RAY: dict[str, Policy] = {
    "ray": documented,
    "ours": own,
    "ray-nested": partial(documented, nested=True),
    "ours-asha": partial(own, scheduler="asha"),
    "ours-joint": partial(own, nested=False),
}
POLICIES: dict[str, Policy] = ON_RAY | {
    "ray-alone": documented_alone,
    "ray-nested-alone": partial(documented_alone, nested=True),
    "ours-alone": own_alone,
    "ours-cost": partial(own_alone, compare="cost"),
    "ours-tpe": partial(own_alone, sampler="tpe"),
    "ours-led": partial(own_alone, begun_with=behind(0.1, 0.17, 0.24)),
    "ours-misled": partial(own_alone, begun_with=behind(0.8, 0.88, 0.96)),
    "ours-earlier": partial(own_alone, begun_with=of_an_earlier_run),
    "random": partial(one_by_one, random_search),
    "iepoch": partial(one_by_one, i_epoch),
    "pasha": partial(one_by_one, pasha),
    "optuna-hyperband": optuna_hyperband,
    "optuna-hyperband-joint": partial(optuna_hyperband, nested=False),
}


def _finder(
    table: Table, *, nested: bool
) -> tuple[Callable[[Mapping[str, Any]], int], Callable[[int, Mapping[str, Any]], list[float]]]:
    """The row of a point, and the scores of a row by epoch at a point's setting.

    Closures of plain values, so that workers need not find this file.
    """
    find, keys = rows_of(table.configs), () if nested else tuple(table.settings[0])
    scores = table.crossfit[:, :, None] if nested else table.whole
    settings = table.settings[: scores.shape[2]]
    columns = {tuple(setting[key] for key in keys): i for i, setting in enumerate(settings)}

    def values(row: int, point: Mapping[str, Any]) -> list[float]:
        return scores[row, :, columns[tuple(point[key] for key in keys)]].tolist()

    return find, values


def _trainable(table: Table, *, nested: bool) -> Callable[[dict[str, Any]], None]:
    """The trainable of `documented`."""
    find, values = _finder(table, nested=nested)

    def trainable(config: dict[str, Any]) -> None:
        row = find(config)
        for epoch, hmean in enumerate(values(row, config), 1):
            tune.report({"hmean": hmean, "epoch": epoch, "row": row, "trained": True})

    return trainable


def replayed_trial(table: Table, *, nested: bool) -> TrialFunction:
    """A trial function that looks its epochs up; its folder says of what and how far.

    It goes on from there to `job.until`, or to the end where the job says nothing, and reports
    the last epoch again when there is none left to train, as a detector's training does.
    """
    epochs = table.epochs
    find, values_of = _finder(table, nested=nested)

    def trial(job: TrialJob, report: Callable[[dict[str, Any]], None]) -> None:
        state = job.folder / "epochs.txt"
        kept = state.read_text().split() if state.exists() else [find(job.params), 0]
        row, done = map(int, kept)
        values = values_of(row, job.params)

        def tell(epoch: int, *, trained: bool) -> None:
            best = max(values[:epoch])
            report(
                {
                    "epoch": epoch,
                    "hmean": values[epoch - 1],
                    "best_hmean": best,
                    "best_epoch": values.index(best) + 1,
                    "finished": epoch == epochs,
                    "row": row,
                    "trained": trained,
                }
            )

        until = min(job.until or epochs, epochs)
        for epoch in range(done + 1, until + 1):
            state.write_text(f"{row} {epoch}")
            tell(epoch, trained=True)
        if done >= until:
            tell(done, trained=False)

    return trial
