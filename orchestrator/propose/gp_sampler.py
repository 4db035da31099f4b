"""An Optuna sampler that expects settings to be as good as those near them.

Optuna's own Gaussian process learns from trials that were trained to the end only, few of a
search that pauses most of them, and takes no settings that apply at some points only. Its TPE took
more epochs on one table of recorded trainings, and as many on another (docs/search.md).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from scipy.spatial.distance import cdist

from orchestrator.propose.gaussian_process import GaussianProcess
from orchestrator.propose.points import Array, Point, as_numbers, changed, drawn, identity
from orchestrator.space.parameters import Parameter

LEARNT_FROM = 3  # trials before which points are random
BOLD = 2.0  # standard deviations above what is expected, by which points are compared
DRAWN, CHANGED, ROUNDS, BEST = 512, 128, 3, 16  # points that are looked at
NEW = 0.01  # so far from all that were tried, in lengths of a range: nearer ones teach nothing
MOST = 256  # trials to learn from; the time grows with the cube of them

Standing = tuple[float, float]
FAILED: Standing = (-1.0, 0.0)


class GaussianProcessSampler(BaseSampler):
    """Proposes the point whose upper confidence bound is highest (Srinivas et al., ICML 2010).

    What is learnt from is a trial's place among all: those that were trained to the end by their
    score, below them the others, at a later step first, and then by score (model-based
    successive halving, as in Klein et al., 2020). Places, as no score is normally distributed and
    a training that found nothing should not outweigh all others. Last come those that failed, or
    what is unknown beyond a rate that breaks every training would be tried for ever. Trials that
    have not reported are expected to come out as their neighbours let expect.

    parameters: of the space, those that a condition names first. Draws follow from the seed.
    """

    def __init__(self, parameters: Sequence[Parameter], seed: int) -> None:
        self._parameters = tuple(parameters)
        self._rng, self._random = np.random.default_rng(seed), RandomSampler(seed=seed)
        self._point: Point | None = None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the point of a trial, with the values that it was given."""
        given = trial.system_attrs.get("fixed_params", {})
        self._point = self._chosen(study.get_trials(deepcopy=False), given)

    def infer_relative_search_space(self, *_: Any, **__: Any) -> dict[str, BaseDistribution]:
        """Nothing: settings are asked for one by one, as some apply at some points only."""
        return {}

    def sample_relative(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing, see `infer_relative_search_space`."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The setting at the point of the trial."""
        if self._point is None:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        return self._point[param_name]

    def _chosen(self, trials: Sequence[FrozenTrial], given: Mapping[str, Any]) -> Point | None:
        """The most promising point that no trial has; None where nothing tells it."""
        standings = {t.number: place for t in trials if (place := _standing(t)) is not None}
        scored = sum(standing > FAILED for standing in standings.values())
        if scored < LEARNT_FROM or not as_numbers(self._parameters, []):
            return None
        learnt = [trials[number] for number in _instructive(standings)]
        values = _normal_scores([standings[trial.number] for trial in learnt])
        model = GaussianProcess(self._numbers([trial.params for trial in learnt]), values)
        waiting = [t.params for t in trials if t.state is OptunaState.RUNNING and t.params]
        if waiting:
            model = model.believing(self._numbers(waiting[-MOST:]))
        tried = np.hstack(self._numbers([trial.params for trial in trials if trial.params]))
        best = [dict(trial.params) for trial in learnt[:BEST]]
        return self._most_promising(model, tried, best, given)

    def _most_promising(
        self,
        model: GaussianProcess,
        tried: Array,
        best: Sequence[Point],
        given: Mapping[str, Any],
    ) -> Point | None:
        """Of points drawn at random, and of those near the best trials and the best of them."""

        def near(points: Sequence[Point]) -> list[Point]:
            chosen = self._rng.integers(len(points), size=CHANGED)
            return [changed(self._parameters, self._rng, points[i], given) for i in chosen]

        def ranked(points: Sequence[Point]) -> list[Point]:
            different = list({identity(point): point for point in points}.values())
            numbers = self._numbers(different)
            mean, deviation = model.predict(numbers)
            bound = mean + BOLD * deviation
            bound[cdist(np.hstack(numbers), tried).min(axis=1) < NEW] = -np.inf
            order = np.argsort(-bound, kind="stable")
            return [different[i] for i in order if np.isfinite(bound[i])]

        found = ranked(
            [drawn(self._parameters, self._rng, given) for _ in range(DRAWN)] + near(best)
        )
        for _ in range(ROUNDS if found else 0):
            found = ranked(found[:BEST] + near(found[:BEST]))
        return found[0] if found else None

    def _numbers(self, points: Sequence[Mapping[str, Any]]) -> list[Array]:
        return as_numbers(self._parameters, points)


def _standing(trial: FrozenTrial) -> Standing | None:
    """How far a trial got, and its score there, more is better; None while it has none."""
    if trial.state is OptunaState.FAIL:
        return FAILED
    if trial.state is OptunaState.COMPLETE:
        return (np.inf, float(trial.values[0]))
    if trial.state is OptunaState.PRUNED and trial.intermediate_values:
        last = max(trial.intermediate_values)
        return (float(last), trial.intermediate_values[last])
    return None


def _instructive(standings: Mapping[int, Standing]) -> list[int]:
    """The trials to learn from, best first: where there are many, half of them the best ones.

    The other half is spread evenly over the rest.
    """
    order = sorted(standings, key=lambda number: standings[number], reverse=True)
    if len(order) <= MOST:
        return order
    rest = order[MOST // 2 :]
    spread = np.linspace(0, len(rest) - 1, MOST - MOST // 2).round().astype(int)
    return order[: MOST // 2] + [rest[i] for i in spread]


def _normal_scores(standings: Sequence[Standing]) -> Array:
    """Normal quantiles of the ranks; equal ones share the middle of their ranks."""
    order, normal = sorted(standings), NormalDist()
    places = [(bisect_left(order, s) + bisect_right(order, s)) / 2 for s in standings]
    return np.array([normal.inv_cdf(place / len(order)) for place in places])
