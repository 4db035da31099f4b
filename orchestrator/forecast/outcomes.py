"""How the trials of a search have turned out, and draws of how others may.

What is drawn are errors, 1 - H-mean, on a logarithmic scale. A new trial's error at its first rung
is one that a trial before it had there, moved a little (a smoothed bootstrap: Silverman and Young,
"The bootstrap: to smooth or not to smooth?", 1987), so that it may also be less than any so far.
From one rung to the next an error shrinks as that of another trial did that was about as good.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from statistics import fmean, median, pstdev

from orchestrator.forecast.seen import Now, Seen

LEAST_ERROR = 1e-6
FEWEST = 3  # trials that a slope is told from


@dataclass(frozen=True)
class Begun:
    """A trial that a new one may be like: its log error at the first rung, and its pace.

    error: None for one that failed on the way there, after so many `epochs`.
    """

    error: float | None
    pace: float
    steps: tuple[int, ...]
    epochs: int


@dataclass(frozen=True)
class Growth:
    """A line through the log errors at a rung over those at the rung before, and what is off it."""

    before: float
    after: float
    slope: float
    rests: tuple[float, ...]


def growth(pairs: Sequence[tuple[float, float]]) -> Growth:
    """By least squares; with fewer than three pairs all shrink alike."""
    before, after = (fmean(column) for column in zip(*pairs, strict=True))
    width = sum((b - before) ** 2 for b, _ in pairs)
    slope = 1.0
    if len(pairs) >= FEWEST and width > 0:
        slope = sum((b - before) * (a - after) for b, a in pairs) / width
        slope = min(1.0, max(0.0, slope))
    rests = tuple(a - after - slope * (b - before) for b, a in pairs)
    return Growth(before, after, slope, rests)


@dataclass(frozen=True)
class Outcomes:
    """What draws are made from.

    begun: in order of number. spread: of the errors of neighbours, see the top of this file.
    unsteady: the standard deviation of the logarithm of a trial's pace from one job to the next.
    pairs: by rung the log errors before and after, of those that reached it.
    """

    begun: tuple[Begun, ...]
    spread: float
    unsteady: float
    pairs: tuple[tuple[tuple[float, float], ...], ...]

    def resampled(self, rng: Random) -> Outcomes:
        """The same from as many trials drawn with repetition: how sure a forecast may be."""
        begun = tuple(rng.choices(self.begun, k=len(self.begun)))
        again = (tuple(rng.choices(some, k=len(some))) if some else () for some in self.pairs)
        return replace(self, begun=begun, pairs=tuple(again))

    @cached_property
    def growths(self) -> tuple[Growth | None, ...]:
        """By rung, where a trial has reached it."""
        return tuple(growth(pairs) if pairs else None for pairs in self.pairs)

    def new(self, rng: Random) -> Begun:
        """A trial that is not begun yet."""
        like = self.begun[rng.randrange(len(self.begun))]
        if like.error is None or like.error == 0.0:  # what finds nothing finds nothing
            return like
        return replace(like, error=min(0.0, like.error + self.spread * rng.gauss(0.0, 1.0)))

    def grown(self, rng: Random, error: float, rung: int, part: float = 1.0) -> float:
        """The log error at a rung after one at the rung before; `part` of the way is left."""
        known = self.growths[rung] or next((g for g in self.growths[::-1] if g), None)
        if known is None:
            return error
        after = known.after + known.slope * (error - known.before)
        after += known.rests[rng.randrange(len(known.rests))]
        return min(error, error + part * (after - error))


def outcomes(trials: Sequence[Seen]) -> Outcomes | None:
    """Those of the trials so far; None before one is measured."""
    paces = measured(trials)
    if not paces:
        return None
    first = [t for t in trials if t.reached or (t.now is Now.OVER and t.epoch < t.steps[0])]
    first = first or [t for t in trials if t.pace]
    begun = tuple(
        Begun(
            log_error(trial.at(0)) if trial.now is not Now.OVER or trial.reached else None,
            pace_of(trial, paces),
            trial.steps,
            trial.epoch,
        )
        for trial in first
    )
    errors = [b.error for b in begun if b.error]
    drifts = [math.log(t.drift) for t in trials if t.drift != 1.0]
    unsteady = math.sqrt(fmean(drift**2 for drift in drifts)) if drifts else 0.0
    return Outcomes(begun, _spread(errors), unsteady, tuple(_pairs(trials)))


def measured(trials: Sequence[Seen]) -> dict[str, float]:
    """Seconds an epoch by kind of trial, over the work of an epoch; "" is that of all."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        if trial.pace:
            found.setdefault(trial.kind, []).append(trial.pace / trial.work)
    everything = [pace for paces in found.values() for pace in paces]
    return {"": fmean(everything)} | {k: fmean(v) for k, v in found.items()} if found else {}


def pace_of(trial: Seen, paces: dict[str, float]) -> float:
    """Seconds an epoch of a trial: its own, that of its kind, or of all by the work they are."""
    return trial.pace or trial.work * paces.get(trial.kind, paces[""])


def log_error(hmean: float) -> float:
    """The logarithm of 1 - H-mean, from 0 downwards."""
    return math.log(max(1.0 - hmean, LEAST_ERROR))


def _spread(errors: Sequence[float]) -> float:
    """Silverman's width, for which outliers do not count."""
    if len(errors) < 2:
        return 0.0
    middle = median(errors)
    robust = median(abs(error - middle) for error in errors) / 0.6745
    return 0.9 * min(pstdev(errors), robust or math.inf) * len(errors) ** -0.2


def _pairs(trials: Sequence[Seen]) -> Iterator[tuple[tuple[float, float], ...]]:
    """By rung, what `Outcomes.pairs` holds; trials that found nothing before say nothing."""
    yield ()
    for rung in range(1, max(len(trial.steps) for trial in trials)):
        passed = [t for t in trials if t.reached > rung and t.values and t.at(rung - 1) > 0]
        yield tuple((log_error(t.at(rung - 1)), log_error(t.at(rung))) for t in passed)
