"""Searches that look trainings up in a table, on Optuna alone: one training after the other.

What counts is which training gets how many epochs, and that needs no Ray. Ray Tune has no scheduler
that pauses the training of a function and goes on with it, as two of them do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import optuna
from optuna.pruners import HyperbandPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import Trial
from pasha import is_stable, noise_of
from policies import EnoughError, Rules, until_enough
from replay import Arrival, Table, Yardstick
from stand_in import rows_of, tell

from orchestrator.compare.halving import Halving, Progress, leader, promotable

ROUND, PROMOTED = 20, 3  # i-Epoch: trials that are compared, and those of them that are trained on
DRAWS = 1000  # so often is a point drawn again that was tried


@dataclass(eq=False)
class Training:
    """One training of the table; `values` are its scores by epoch, from 1."""

    row: int
    column: int
    values: dict[int, float] = field(default_factory=dict)


class Lookup:
    """Trains by the table, tells the yardstick, and raises EnoughError when that has seen enough.

    When `nested`, a training is scored by its cross-fitted H-mean, else by that at its setting.
    """

    def __init__(self, table: Table, yardstick: Yardstick, *, nested: bool) -> None:
        self.table, self._yardstick, self._nested = table, yardstick, nested
        self._stand_ins, self._rows = table.stand_ins(), rows_of(table.configs)
        self._columns = {tuple(s.values()): i for i, s in enumerate(table.settings)}

    def begin(self, trial: Trial) -> Training:
        """The training for a point that Optuna draws, which is told of it; it has no epoch yet."""
        space = self.table.searched(nested=self._nested)
        point = self._stand_ins.of({parameter.key: parameter.suggest(trial) for parameter in space})
        tell(trial.study, trial._trial_id, point)
        return self.of(point)

    def of(self, point: Mapping[str, Any]) -> Training:
        """The training of a point of the table; it has no epoch yet."""
        space = self.table.searched(nested=self._nested)
        setting = tuple(point[parameter.key] for parameter in space[len(self.table.space) :])
        return Training(self._rows(point), self._columns.get(setting, 0))

    def train(self, training: Training, until: int) -> None:
        """Go on with a training up to an epoch."""
        table, row, column = self.table, training.row, training.column
        for index in range(len(training.values), until):
            whole, shipped = table.whole[row, index, column], table.shipped[row, index]
            score = table.crossfit[row, index] if self._nested else whole
            training.values[index + 1] = float(score)
            worth = float(shipped if self._nested else whole)
            self._yardstick.add(Arrival(float(score), worth, table.cost(row, index)))
            if self._yardstick.over:
                raise EnoughError


def untried(lookup: Lookup, seed: int) -> Iterator[Training]:
    """Trainings of points drawn at random, each once, until there is none left."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=seed))
    known: set[tuple[int, int]] = set()
    for _ in iter(lambda: len(known), None):
        for _ in range(DRAWS):
            training = lookup.begin(study.ask())
            if (training.row, training.column) not in known:
                break
        else:
            return
        known.add((training.row, training.column))
        yield training


def random_search(lookup: Lookup, drawn: Iterator[Training], _: Rules) -> None:
    """Every training to its end."""
    for training in drawn:
        lookup.train(training, lookup.table.epochs)


def i_epoch(
    lookup: Lookup,
    drawn: Iterator[Training],
    rules: Rules,
    *,
    trials: int = ROUND,
    promoted: int = PROMOTED,
) -> None:
    """All stopped after `rules.grace` epochs, and the best of them trained to the end.

    Egele et al., "The unreasonable effectiveness of early discarding after one epoch in neural
    network hyperparameter optimization", 2024 (arXiv 2404.04111). A search that may go on for ever
    does so in rounds of so many `trials`.
    """
    stopped: list[Training] = []
    while begun := list(itertools.islice(drawn, trials)):
        for training in begun:
            lookup.train(training, rules.grace)
        stopped = sorted(stopped + begun, key=lambda one: -one.values[rules.grace])
        for training in stopped[:promoted]:
            lookup.train(training, lookup.table.epochs)
        del stopped[:promoted]
    for training in stopped:
        lookup.train(training, lookup.table.epochs)


def pasha(lookup: Lookup, drawn: Iterator[Training], rules: Rules) -> None:
    """Trials are promoted up to a rung that rises while their order does not settle (`pasha.py`).

    When there is nothing left to draw, the best go on to the end, as that method ends.
    """
    epochs = lookup.table.epochs
    steps = Halving(epochs, grace=rules.grace, factor=rules.factor).steps(None)
    shares = [Fraction(1, rules.factor)] * (len(steps) - 1)
    top, begun = min(1, len(steps) - 1), list[Training]()

    def progress(until: int) -> list[Progress]:
        return [
            Progress(i, steps[: until + 1], one.values, ended=len(one.values) == epochs)
            for i, one in enumerate(begun)
        ]

    while True:
        if (best := promotable(progress(top), shares)) is not None:
            training = begun[best.number]
        elif (new := next(drawn, None)) is not None:
            training = new
            begun.append(new)
        elif (best := leader(progress(len(steps) - 1), shares)) is not None:
            training = begun[best.number]
        else:
            return
        lookup.train(training, next(step for step in steps if step > len(training.values)))
        there = [one.values for one in begun if len(one.values) >= steps[top]]
        while top + 1 < len(steps) and not is_stable(
            there, steps[top - 1], steps[top], noise_of(there)
        ):
            top += 1
            there = [one.values for one in begun if len(one.values) >= steps[top]]


def one_by_one(
    rule: Callable[[Lookup, Iterator[Training], Rules], None],
    table: Table,
    yardstick: Yardstick,
    seed: int,
    rules: Rules,
    *,
    nested: bool = True,
) -> None:
    """A search by a rule that says which of the trainings drawn at random get how many epochs."""
    lookup = Lookup(table, yardstick, nested=nested)
    until_enough(lambda: rule(lookup, untried(lookup, seed), rules))


def optuna_hyperband(
    table: Table, yardstick: Yardstick, seed: int, rules: Rules, *, nested: bool = True
) -> None:
    """Optuna's TPE with its Hyperband, as its documentation puts them together."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lookup = Lookup(table, yardstick, nested=nested)

    def objective(trial: Trial) -> float:
        training = lookup.begin(trial)
        for epoch in range(1, table.epochs + 1):
            lookup.train(training, epoch)
            trial.report(training.values[epoch], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return training.values[table.epochs]

    study = optuna.create_study(
        study_name="replay",  # by which Hyperband deals trials to its brackets
        direction="maximize",
        sampler=TPESampler(seed=seed),
        pruner=HyperbandPruner(
            min_resource=rules.grace, max_resource=table.epochs, reduction_factor=rules.factor
        ),
    )
    until_enough(lambda: study.optimize(objective, n_trials=None))
