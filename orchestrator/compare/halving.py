"""Successive halving that pauses and promotes: which trial goes on, and how far.

A trial trains to its first rung and pauses. It goes on to the next one when it is among the best
share of those that got there (Li et al., "A system for massively parallel hyperparameter tuning",
MLSys 2020, algorithm 2). Nothing waits for a rung to fill, and no epoch is trained twice, as a
paused trial keeps its checkpoint. All of it is a function of what the trials have reported, so a
resumed search decides as one that was never interrupted.

Which share that is: successive halving spends alike on all rungs (Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016). Where
trials begin anew at each rung, that is one in the factor between rungs. Here they go on, so a rung
costs the epochs from the one before it only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from orchestrator.trials.pareto import fronts

# Trials with their merit, `(front, -score)`, less is better.
Standings = list[tuple[tuple[float, float], "Progress"]]
# By rung but the last: the share of the trials there that goes on.
Shares = Sequence[Fraction]


def equal_cost(_: Mapping[str, Any]) -> float:
    """An epoch of one trial counts like an epoch of another."""
    return 1.0


@dataclass(frozen=True)
class Progress:
    """What a trial has done: its reports by epoch, and the epochs of its rungs.

    busy: a worker has it, or waits for one. ended: it goes no further, but still counts at the
    rungs that it reached. others: by reported epoch what else is to be good, larger is better.
    """

    number: int
    steps: tuple[int, ...]
    values: Mapping[int, float] = field(default_factory=dict)
    busy: bool = False
    ended: bool = False
    others: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The last reported epoch; 0 before the first."""
        return max(self.values, default=0)

    @property
    def is_paused(self) -> bool:
        """Whether its last report is one of a rung, short of the last."""
        return self.epoch in self.steps[:-1]

    def at(self, rung: int) -> float | None:
        """The best value up to the rung of this index; None before the trial got there."""
        if self.epoch < self.steps[rung]:
            return None
        before = [v for epoch, v in self.values.items() if epoch <= self.steps[rung]]
        # The reports up to here may have been lost with a driver: the next one stands for them.
        return max(before) if before else self.values[min(self.values)]

    def others_at(self, rung: int) -> tuple[float, ...]:
        """What else it was good for when it got to the rung of this index, see `at`."""
        before = [epoch for epoch in self.others if epoch <= self.steps[rung]]
        return self.others[max(before, default=min(self.others))] if self.others else ()


@dataclass(frozen=True)
class Place:
    """Where a trial stands at the last rung that it has reached; rung and rank begin with 1."""

    rung: int
    rank: int
    of: int

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.of} at rung {self.rung}"


@dataclass(frozen=True)
class Halving:
    """Trials train for `epochs` at most, and are compared each `factor` times as many epochs.

    grace: epochs before the first rung. every: epochs between two validations. cost: the work of
    an epoch by the settings of a trial, in epochs of the cheapest trial; 1 for all compares them
    at equal epochs. begins_anew: rungs and shares as published for trials that cannot go on where
    they were, and as Ray's ASHA has them.
    """

    epochs: int
    grace: int
    factor: int
    every: int = 1
    cost: Callable[[Mapping[str, Any]], float] = equal_cost
    begins_anew: bool = False

    def rungs(self) -> list[int]:
        """`grace * factor ** k` epochs, without the end.

        A trial waits at each of them until enough are there. So there is none but the first after
        which the training would grow by less than the square root of `factor`: with a rung after
        9 of 12 epochs the best would wait for others where they are all but trained.
        """
        found, rung = [self.grace] if self.grace < self.epochs else [], self.grace * self.factor
        least = 1.0 if self.begins_anew else math.sqrt(self.factor)
        while rung < self.epochs and self.epochs / rung >= least:
            found.append(rung)
            rung *= self.factor
        return found

    def shares(self) -> tuple[Fraction, ...]:
        """Which share of the trials at each of `rungs` goes on.

        It is what each has cost since the rung before, over what it costs to the next one: 1 / 2
        and 1 / 3 with rungs after 1, 3 and 9 epochs. Where the end is near it is no more than from
        the first rung of a long training, 1 / (`factor` - 1), and never more than half, as a rung
        would then decide next to nothing.
        """
        spent = [until - since for since, until in pairwise([0, *self.rungs(), self.epochs])]
        if self.begins_anew:
            return (Fraction(1, self.factor),) * (len(spent) - 1)
        most = Fraction(1, max(2, self.factor - 1))
        return tuple(min(most, Fraction(here, ahead)) for here, ahead in pairwise(spent))

    def steps(self, params: Mapping[str, Any] | None) -> tuple[int, ...]:
        """The epochs at which a trial with these settings is compared, the last one the end.

        They are `rungs` divided by the cost, and rounded up to a multiple of `every`, since only
        validated epochs have a score. Trials of one search have as many rungs as each other,
        whatever they cost, so a costly one may reach several at the same epoch. None for the
        settings is one of the cheapest trials.
        """
        cost = 1.0 if params is None else self.cost(params)
        epochs = (max(1, round(rung / cost)) for rung in self.rungs())
        validated = (min(-(-at // self.every) * self.every, self.epochs) for at in epochs)
        return (*validated, self.epochs)

    def goes_on(self) -> list[tuple[int, Fraction]]:
        """The epochs at which the cheapest trials are compared, with `shares`."""
        return list(zip(self.steps(None), self.shares(), strict=False))


def kept(share: Fraction, of: int) -> int:
    """How many of so many trials at a rung go on."""
    return of * share.numerator // share.denominator


def may_go_on(share: Fraction, of: int) -> int:
    """How many of a rung are worth keeping where no more than so many are there.

    Those that go on, and at least as many as must be there before one does: where no more come,
    one of them may have to go on at the end of a search, see `leader`, and may fail.
    """
    return max(kept(share, of), math.ceil(1 / share))


def next_stop(epoch: int, steps: Sequence[int]) -> int:
    """The first rung after an epoch; the last one for a training that is over."""
    return next((rung for rung in steps if rung > epoch), steps[-1])


def promotable(trials: Sequence[Progress], shares: Shares) -> Progress | None:
    """The first of `all_promotable`; None when none has earned it."""
    return next(iter(all_promotable(trials, shares)), None)


def all_promotable(trials: Sequence[Progress], shares: Shares) -> list[Progress]:
    """The paused trials that have earned to go on, in the order in which they do.

    Rungs near the end come first, so that good trials are finished before more are begun. Of equal
    scores the lower number goes on, but for scores of 0: where all have found nothing yet, numbers
    must not decide, and they wait for more to compare with.
    """
    found: dict[int, Progress] = {}  # a costly trial may have earned it at several rungs
    for rung, here in reversed(list(enumerate(_rungs_held(trials, shares)))):
        for trial in _earned(here, shares[rung]):
            if not trial.busy and not trial.ended and trial.epoch < trial.steps[rung + 1]:
                found.setdefault(trial.number, trial)
    return list(found.values())


def out_of_reach(trials: Sequence[Progress], shares: Shares, more: int) -> list[Progress]:
    """The paused trials that go no further, whatever those at work and `more` new ones do.

    Others that come to a rung make no rank better. So where `n` trials may ever come there, only
    the best share of `n` of those that are there now can go on, see `may_go_on`. None is where
    ranks may get better: with several objectives, and where a trial is at two rungs at the same
    epoch, or rungs are not those of all (`search.compare=cost`).
    """
    steps = trials[0].steps if trials else ()
    if (
        not steps
        or len(set(steps)) < len(steps)
        or any(t.others or t.steps != steps for t in trials)
    ):
        return []
    found: list[Progress] = []
    coming = more + sum(not t.ended and t.epoch < steps[0] for t in trials)
    for rung, here in enumerate(_rungs_held(trials, shares)):
        reach = may_go_on(shares[rung], len(here) + coming)
        beyond = [
            t for _, t in here[reach:] if t.epoch == steps[rung] and not t.busy and not t.ended
        ]
        found += beyond
        coming += sum(not t.ended and t.epoch < steps[rung + 1] for _, t in here) - len(beyond)
    return found


def leader(trials: Sequence[Progress], shares: Shares) -> Progress | None:
    """The best paused trial of the highest rung; None when there is none to go on with.

    For the end of a search: in a small one no rung may ever hold enough trials for one to go on,
    and yet one should be trained to the end.
    """
    for here in reversed(_rungs_held(trials, shares)):
        paused = [t for _, t in here if not t.busy and not t.ended]
        if paused:
            return paused[0]
    return None


def places(trials: Sequence[Progress], shares: Shares) -> dict[int, Place]:
    """Where each trial stands, by number; those that have reached no rung are left out."""
    return {
        trial.number: Place(rung, rank, len(here))
        for rung, here in enumerate(_rungs_held(trials, shares), 1)
        for rank, (_, trial) in enumerate(here, 1)
    }


def _rungs_held(trials: Sequence[Progress], shares: Shares) -> list[Standings]:
    """Who is at each rung but the last, best first.

    A costly trial may reach several rungs at the same epoch. It is at one of them only when it has
    earned it at the rung before, as a trial that had to train for it.
    """
    held: list[Standings] = []
    for rung in range(len(trials[0].steps) - 1 if trials else 0):
        candidates = list(trials)
        if rung:
            earned = {trial.number for trial in _earned(held[-1], shares[rung - 1])}
            before = [trial for _, trial in held[-1]]
            candidates = [t for t in before if t.epoch > t.steps[rung - 1] or t.number in earned]
        held.append(_best_first(candidates, rung))
    return held


def _earned(here: Standings, share: Fraction) -> list[Progress]:
    """The best share of a rung, without those of score 0 that are no better than one left."""
    count = kept(share, len(here))
    left_out = here[count][0] if count < len(here) else (math.inf, math.inf)
    return [trial for merit, trial in here[:count] if merit < left_out or merit[1] < 0]


def _best_first(trials: Sequence[Progress], rung: int) -> Standings:
    """Those that reached a rung with their merit there, less is better; equal ones by number.

    With more than one objective those that no other one beats in all come first, then those that
    only these beat, and so on (Deb et al., "A fast and elitist multiobjective genetic algorithm:
    NSGA-II", 2002), each by the value at the rung.
    """
    here = [(value, trial) for trial in trials if (value := trial.at(rung)) is not None]
    layers = np.zeros(len(here), int)
    if any(trial.others for _, trial in here):
        layers = fronts(np.array([(value, *trial.others_at(rung)) for value, trial in here]))
    merits = [(float(layer), -value) for layer, (value, _) in zip(layers, here, strict=True)]
    found = [(merit, trial) for merit, (_, trial) in zip(merits, here, strict=True)]
    return sorted(found, key=lambda pair: (pair[0], pair[1].number))
