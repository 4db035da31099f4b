"""Ray Tune as documented, without Ray: its own searcher and scheduler, told as Tune tells them.

With one trial at a time Tune asks the searcher for a point, tells the scheduler of each epoch and,
unless that stops the trial, the searcher, and both of its end. Here that is a loop.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

from optuna_policies import Lookup
from policies import METRIC, Rules, documented_parts, until_enough
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from replay import Table, Yardstick


def documented_alone(
    table: Table, yardstick: Yardstick, seed: int, rules: Rules, *, nested: bool = False
) -> None:
    """The search of `replay_policies.documented`, epoch by epoch."""
    lookup, space = Lookup(table, yardstick, nested=nested), table.searched(nested=nested)
    drawn, searcher, scheduler = documented_parts(
        space, epochs=table.epochs, seed=seed, rules=rules, stand_ins=table.stand_ins()
    )
    searcher.set_search_properties(METRIC, "max", drawn)
    scheduler.set_search_properties(METRIC, "max")

    def search() -> None:
        for number in itertools.count():
            _train(lookup, searcher, scheduler, str(number))

    until_enough(search)


def _train(lookup: Lookup, searcher: OptunaSearch, scheduler: ASHAScheduler, trial_id: str) -> None:
    """One trial until the scheduler stops it, at its last epoch if not before."""
    trial: Any = SimpleNamespace(trial_id=trial_id)
    runner: Any = None  # of which neither asks anything
    point = searcher.suggest(trial_id)
    assert point is not None
    training = lookup.of(point)
    scheduler.on_trial_add(runner, trial)
    decision, epoch, result = TrialScheduler.CONTINUE, 0, dict[str, Any]()
    while decision != TrialScheduler.STOP:
        epoch += 1
        lookup.train(training, epoch)
        result = {METRIC: training.values[epoch], "training_iteration": epoch}
        decision = scheduler.on_trial_result(runner, trial, result)
        if decision != TrialScheduler.STOP:
            searcher.on_trial_result(trial_id, result)
    searcher.on_trial_complete(trial_id, result)
    scheduler.on_trial_complete(runner, trial, result)
