"""Searches that look trainings up in a table: Ray Tune as documented, and this project's own.

Both run for real, on Ray, with Optuna; only the training is replaced. Ray must be running.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from policies import Ending, Heard, Rules, no_limits, tune_as_documented, until_enough
from ray import tune
from replay import Arrival, Table, Yardstick, axes

from orchestrator.config.settings import SearchConfig
from orchestrator.execute.session import Session
from orchestrator.execute.trial import TrialFunction
from orchestrator.execute.tuner import run_search
from orchestrator.place.resources import TrialResources
from orchestrator.run.run import Run
from orchestrator.run.study import Study
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.job import TrialJob

Policy = Callable[[Table, Yardstick, int, Rules], None]


class Watch(Ending):
    """Tells a yardstick of each trained epoch in the order of arrival, and ends the search."""

    trial = "replayed trial"

    def __init__(self, yardstick: Yardstick, shipped: NDArray[np.float64], *, nested: bool) -> None:
        super().__init__()
        self._yardstick, self._shipped, self._nested = yardstick, shipped, nested

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
            worth = float(self._shipped[place]) if self._nested else score
            self._yardstick.add(Arrival(score, worth))


def documented(
    table: Table, yardstick: Yardstick, seed: int, rules: Rules, *, nested: bool = False
) -> None:
    """Ray Tune, OptunaSearch and ASHA, as Ray's documentation puts them together.

    One value of each setting of the training and, unless `nested`, of post-processing is drawn
    for a trial, which reports its H-mean over all pages there after each epoch. When `nested`,
    it reports the cross-fitted H-mean over all settings instead.
    """
    keys = axes(table.configs) if nested else axes(table.configs) | axes(table.settings)
    with tempfile.TemporaryDirectory() as folder:
        tune_as_documented(
            tune.with_parameters(_lookup(), **_points(table, nested=nested)),
            keys,
            epochs=table.epochs,
            trials=yardstick.cap,  # more than can be begun
            seed=seed,
            rules=rules,
            folder=folder,
            ending=Watch(yardstick, table.shipped, nested=nested),
        )


def own(
    table: Table,
    yardstick: Yardstick,
    seed: int,
    rules: Rules,
    *,
    nested: bool = True,
    promote: bool = True,
) -> None:
    """This project's search, as `python -m orchestrator.search` runs it.

    When `nested`, trials differ in their training only and report the cross-fitted H-mean;
    otherwise post-processing is drawn too, as in `documented`. With `promote` they pause at rungs
    and the best go on; otherwise ASHA stops them.
    """
    keys = axes(table.configs) if nested else axes(table.configs) | axes(table.settings)
    space = SearchSpace(
        name="replay",
        description="",
        fixed={},
        parameters={key: Parameter(key, "choice", values) for key, values in keys.items()},
        warm_start=(),
        budget=Budget(
            trials=yardstick.cap,
            epochs=table.epochs,
            grace_epochs=rules.grace,
            reduction_factor=rules.factor,
        ),
    )
    watch = Watch(yardstick, table.shipped, nested=nested)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A database would be told the same and take most of the time.
        storage = InMemoryStorage()
        storage.create_new_study([StudyDirection.MAXIMIZE], "replay")
        scheduler = {"scheduler": "promote" if promote else "asha"}
        config = SearchConfig.model_validate({"space": "replay", "seed": seed, "search": scheduler})
        run = Run(folder, config, space, Study(storage, "replay"))
        resources = TrialResources(cpus=1, gpus=0, concurrent=rules.concurrent)
        session = Session(run, replayed_trial(table, nested=nested), resources, no_limits())
        until_enough(lambda: run_search(session, [Heard(watch, run)]))


POLICIES: dict[str, Policy] = {
    "ray": documented,
    "ours": own,
    "ray-nested": partial(documented, nested=True),
    "ours-asha": partial(own, promote=False),
    "ours-joint": partial(own, nested=False),
}


def _points(table: Table, *, nested: bool) -> dict[str, Any]:
    """What a worker needs: rows by config, columns by setting, `(rows, epochs, columns)` scores.

    A nested search has one column.
    """
    columns = {(): 0} if nested else {tuple(s.values()): i for i, s in enumerate(table.settings)}
    return {
        "config_keys": tuple(table.configs[0]),
        "setting_keys": () if nested else tuple(table.settings[0]),
        "rows": {tuple(config.values()): i for i, config in enumerate(table.configs)},
        "columns": columns,
        "scores": table.crossfit[:, :, None] if nested else table.whole,
    }


def _lookup() -> Callable[..., None]:
    """The trainable of `documented`. A closure, so that workers need not find this file."""

    def trainable(
        config: dict[str, Any],
        config_keys: tuple[str, ...],
        setting_keys: tuple[str, ...],
        rows: dict[tuple[Any, ...], int],
        columns: dict[tuple[Any, ...], int],
        scores: NDArray[np.float64],
    ) -> None:
        row = rows[tuple(config[key] for key in config_keys)]
        column = columns[tuple(config[key] for key in setting_keys)]
        for epoch, hmean in enumerate(scores[row, :, column].tolist(), 1):
            tune.report({"hmean": hmean, "epoch": epoch, "row": row, "trained": True})

    return trainable


def replayed_trial(table: Table, *, nested: bool) -> TrialFunction:
    """A trial function that looks its epochs up; its folder says how far it was trained.

    It goes on from there to `job.until`, or to the end where the job says nothing, and reports
    the last epoch again when there is none left to train, as a detector's training does.
    """
    points = _points(table, nested=nested)
    scores, rows, columns = points["scores"], points["rows"], points["columns"]
    config_keys, setting_keys, epochs = points["config_keys"], points["setting_keys"], table.epochs

    def trial(job: TrialJob, report: Callable[[dict[str, Any]], None]) -> None:
        row = rows[tuple(job.params[key] for key in config_keys)]
        column = columns[tuple(job.params[key] for key in setting_keys)]
        values = scores[row, :, column].tolist()

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

        state = job.folder / "epochs.txt"
        done = int(state.read_text()) if state.exists() else 0
        until = min(job.until or epochs, epochs)
        for epoch in range(done + 1, until + 1):
            state.write_text(str(epoch))
            tell(epoch, trained=True)
        if done >= until:
            tell(done, trained=False)

    return trial
