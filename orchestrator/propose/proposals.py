"""What to try next: points of the space that no trial has tried, the most promising first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.propose.gp_sampler import GaussianProcessSampler
from orchestrator.propose.points import identity
from orchestrator.run.as_records import to_record
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.pareto import Objectives, value_of

Method = Literal["gp", "tpe"]
Steps = Callable[[Mapping[str, Any]], Sequence[int]]
HMEAN: Objectives = (("hmean", "max"),)
SAMPLER_DRAWS = 20  # a sampler that knows a good point proposes it again and again
RANDOM_DRAWS = 1000


def no_rungs(_: Mapping[str, Any]) -> Sequence[int]:
    """Every trial is trained to its end."""
    return ()


@dataclass(frozen=True)
class Proposal:
    """A point with its distributions, and where it comes from.

    random: the sampler has proposed known points only.
    """

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    why: Literal["warm_start", "sampler", "random"]


def propose(
    known: Sequence[FrozenTrial],
    space: SearchSpace,
    *,
    seed: int,
    objectives: Objectives = HMEAN,
    by: Method = "gp",
    steps: Steps = no_rungs,
) -> Proposal | None:
    """The next point; None without any.

    `known` are the run's trials, `steps` the epochs of the rungs at a point. Warm starts come
    first, what they leave open is drawn. A draw depends on the seed and on what is known, so a
    resumed search goes on as the first session would have. With several objectives it is TPE's
    whatever `by` says.
    """
    number = len(known)
    method = by if len(objectives) == 1 else "tpe"
    drawing = sampler(method, space, seed_of(seed, number))
    view = as_seen_now(known, drawing, objectives, steps)
    warm_starts = space.warm_start[: space.budget.trials]
    if (point := next(_not_begun(warm_starts, known), None)) is not None:
        view.enqueue_trial(dict(point))
        trial = view.ask()
        space.suggest(trial)
        return Proposal(trial.params, trial.distributions, "warm_start")
    return _untried(view, space, known, RandomSampler(seed=seed_of(seed, number)))


def sampler(method: Method, space: SearchSpace, seed: int) -> BaseSampler:
    """What draws the points of a space: by a Gaussian process, or by Optuna's TPE.

    TPE begins with random points, fewer of them in a short search.
    """
    if method == "gp":
        return GaussianProcessSampler(tuple(space.parameters.values()), seed)
    startup = min(10, max(3, space.budget.trials // 4))
    return TPESampler(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)


def seed_of(seed: int, number: int) -> int:
    """A seed for the draws of trial `number` alone.

    One seed for a whole session would make a resumed session repeat the points that the first
    one began with.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def as_seen_now(
    known: Sequence[FrozenTrial],
    sampler: BaseSampler,
    objectives: Objectives = HMEAN,
    steps: Steps = no_rungs,
) -> optuna.Study:
    """The study as a sampler should see it, in memory.

    A trial that is paused, or still training, is shown as stopped, with its score at the number of
    rungs that it has reached. The sampler ranks such trials below all that were trained to the
    end, those with more rungs first, so that a score of few epochs is never taken for a final
    one; epochs would not do, as with `search.compare=cost` they are others for each network.
    With several objectives only the number of trials counts, as Optuna compares no unfinished
    ones then.
    """
    view = optuna.create_study(
        directions=["maximize" if way == "max" else "minimize" for _, way in objectives],
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),
    )
    view.add_trials([_seen(trial, objectives, steps) for trial in known])
    return view


class _Seen(FrozenTrial):
    """A trial that nobody changes, so that a study in memory need not copy all that it holds."""

    def __deepcopy__(self, _: dict[int, Any]) -> FrozenTrial:
        return copy(self)


def _seen(trial: FrozenTrial, objectives: Objectives, steps: Steps) -> FrozenTrial:
    state, values = trial.state, None
    if state is OptunaState.RUNNING and trial.intermediate_values:
        state = OptunaState.PRUNED
    if state is OptunaState.COMPLETE:
        record = to_record(trial)
        figures = [value_of(record, name) for name, _ in objectives]
        values = [figure for figure in figures if figure is not None]
        if len(values) < len(figures):  # an objective that this trial did not report
            state, values = OptunaState.FAIL, None
    return _Seen(
        number=-1,  # which the study gives it
        trial_id=-1,
        state=state,
        value=None,
        values=values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_start if state.is_finished() else None,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=_by_rung(trial, steps) if len(objectives) == 1 else {},
    )


def _by_rung(trial: FrozenTrial, steps: Steps) -> dict[int, float]:
    """The last score of a trial, at how many rungs it has reached; empty without a score."""
    scores = trial.intermediate_values
    last = max(scores, default=0)
    return {sum(last >= epoch for epoch in steps(trial.params)): scores[last]} if scores else {}


def _not_begun(
    points: Iterable[Mapping[str, Any]], known: Sequence[FrozenTrial]
) -> Iterator[Mapping[str, Any]]:
    """The points with all of whose settings there is no trial yet."""
    begun = [trial.params.items() for trial in known]
    return (point for point in points if not any(point.items() <= params for params in begun))


def _untried(
    view: optuna.Study, space: SearchSpace, known: Iterable[FrozenTrial], fallback: BaseSampler
) -> Proposal | None:
    tried = {identity(trial.params) for trial in known}
    ways: tuple[tuple[int, BaseSampler, Literal["sampler", "random"]], ...] = (
        (SAMPLER_DRAWS, view.sampler, "sampler"),
        (RANDOM_DRAWS, fallback, "random"),
    )
    for draws, drawing, why in ways:
        view.sampler = drawing
        for _ in range(draws):
            trial = view.ask()
            if identity(space.suggest(trial)) not in tried:
                return Proposal(trial.params, trial.distributions, why)
    return None
