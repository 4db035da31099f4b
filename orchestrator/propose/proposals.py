"""What to try next: points of the space that no trial has tried, the most promising first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, Trial, create_trial
from optuna.trial import TrialState as OptunaState

from orchestrator.run import study as store
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.pareto import Objectives

HMEAN: Objectives = (("hmean", "max"),)
SAMPLER_DRAWS = 20  # a sampler that knows a good point proposes it again and again
RANDOM_DRAWS = 1000


def propose(
    study: optuna.Study,
    space: SearchSpace,
    *,
    seed: int,
    trials: int,
    objectives: Objectives = HMEAN,
) -> Trial | None:
    """The next trial, RUNNING in the study with all its settings; None when none is untried.

    Queued points come first, then those of the sampler. Its draws depend on the seed and on what
    the study holds, so a resumed search goes on as the first session would have.
    """
    known = study.get_trials(deepcopy=False)
    number = sum(t.state is not OptunaState.WAITING for t in known)
    sampler = store.sampler(seed, number, trials=trials)
    study.sampler = sampler  # draws what a queued point leaves open
    if number == len(known):
        view = as_seen_now(known, sampler, objectives)
        point = _untried(view, space, known, RandomSampler(seed=store.seed_of(seed, number)))
        if point is None:
            return None
        study.enqueue_trial(point)
    trial = study.ask()
    space.suggest(trial)
    return trial


def as_seen_now(
    known: list[FrozenTrial], sampler: BaseSampler, objectives: Objectives = HMEAN
) -> optuna.Study:
    """The study as a sampler should see it, in memory.

    A trial that is paused, or still training, shows how far it is: like one that was stopped
    there. The sampler ranks such trials below all that were trained to the end, the further ones
    first, so that a score of few epochs is never taken for a final one. With several objectives
    only their number counts, as Optuna compares no unfinished trials then.
    """
    view = optuna.create_study(
        directions=["maximize" if way == "max" else "minimize" for _, way in objectives],
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),
    )
    view.add_trials([_seen(trial, objectives) for trial in known])
    return view


def _seen(trial: FrozenTrial, objectives: Objectives) -> FrozenTrial:
    state, values = trial.state, None
    if state is OptunaState.RUNNING and trial.intermediate_values:
        state = OptunaState.PRUNED
    if state is OptunaState.COMPLETE:
        record = store.to_record(trial)
        values = [getattr(record, figure) for figure, _ in objectives]
        if None in values:  # an objective that this trial did not report
            state, values = OptunaState.FAIL, None
    return create_trial(
        state=state,
        values=values,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values if len(objectives) == 1 else None,
    )


def _untried(
    view: optuna.Study, space: SearchSpace, known: list[FrozenTrial], fallback: BaseSampler
) -> dict[str, Any] | None:
    tried = {identity(trial.params) for trial in known}
    for draws, sampler in ((SAMPLER_DRAWS, view.sampler), (RANDOM_DRAWS, fallback)):
        view.sampler = sampler
        for _ in range(draws):
            point = space.suggest(view.ask())
            if identity(point) not in tried:
                return point
    return None


def identity(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A point as a key: equal for equal settings, whatever their order."""
    return tuple(sorted(point.items(), key=lambda item: item[0]))
