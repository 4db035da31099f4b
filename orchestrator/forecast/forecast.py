"""How long a search still takes and what it is expected to bring, from many ways to go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, quantiles

from orchestrator.forecast.future import Job, Rules, played
from orchestrator.forecast.outcomes import Outcomes, log_error, outcomes
from orchestrator.forecast.seen import Seen

HOUR = 3600.0
DRAWS = 100  # fewer in a large search:
MOST_JOBS = 20_000  # of all draws
FEWEST_DRAWS = 20
INTERVAL = 0.8
LONGEST = 7  # doublings of an hour that are looked ahead


@dataclass(frozen=True)
class Ends:
    """What ends a search before its trials are over: what is left of each limit, None is none.

    seconds: of the clock. epochs, training_s: of all trials. confirmations: whole trainings that
    follow the search, unless one of these limits has ended it.
    """

    seconds: float | None = None
    epochs: float | None = None
    training_s: float | None = None
    confirmations: int = 0


@dataclass(frozen=True)
class Forecast:
    """What is expected of a search.

    seconds: until it is over, between `low` and `high` in four of five cases. gain: of the best
    H-mean in the next hour; None while no trial has trained to its end. rate: the most H-mean an
    hour that is expected of going on for an hour, two, four, ...
    """

    seconds: float
    low: float
    high: float
    gain: float | None
    rate: float | None


def forecast(
    trials: Sequence[Seen], rules: Rules, ends: Ends, *, seed: int = 0, hour: float = HOUR
) -> Forecast | None:
    """What is expected; None before an epoch of any trial is over. hour: seconds that count so."""
    known = outcomes(trials)
    if known is None:
        return None
    rng = Random(seed)
    most = rules.new + len(trials)
    draws = min(DRAWS, max(FEWEST_DRAWS, MOST_JOBS // max(1, most)))
    ways = [_way(trials, known.resampled(rng), rules, ends, rng) for _ in range(draws)]
    ordered = quantiles([end for end, _ in ways], n=10)
    seconds = fmean(end for end, _ in ways)
    if not any(t.reached == len(t.steps) for t in trials):
        return Forecast(seconds, ordered[0], ordered[-1], None, None)
    best = min(log_error(t.hmean) for t in trials)
    gains = []
    for double in range(LONGEST + 1):
        within = hour * 2**double
        gains.append(fmean(_gain(jobs, best, min(within, end)) for end, jobs in ways))
    rate = max(gain / 2**double for double, gain in enumerate(gains))
    return Forecast(seconds, ordered[0], ordered[-1], gains[0], rate)


def _way(
    trials: Sequence[Seen], known: Outcomes, rules: Rules, ends: Ends, rng: Random
) -> tuple[float, list[Job]]:
    """When a search is over in one way to go on, and its jobs."""
    jobs = list(played(trials, known, rules, rng))
    last = max((job.end for job in jobs), default=0.0)
    stops = [math.inf if ends.seconds is None else ends.seconds]
    if ends.epochs is not None:
        stops.append(_spent(jobs, [j.last - j.first for j in jobs], ends.epochs))
    if ends.training_s is not None:
        stops.append(_spent(jobs, [j.end - j.start for j in jobs], ends.training_s))
    if min(stops) <= last:
        return min(stops), jobs
    again = _again(trials, known, rules, ends)
    return min(last + again, stops[0]), jobs


def _again(trials: Sequence[Seen], known: Outcomes, rules: Rules, ends: Ends) -> float:
    """Seconds of the trainings that follow."""
    if not ends.confirmations:
        return 0.0
    whole = [t for t in trials if t.pace and t.reached == len(t.steps)]
    each = [t.pace * t.steps[-1] for t in whole if t.pace]
    each = each or [b.pace * b.steps[-1] for b in known.begun]
    return math.ceil(ends.confirmations / rules.at_once) * (fmean(each) + rules.overhead)


def _spent(jobs: Sequence[Job], amounts: Sequence[float], limit: float) -> float:
    """When so much is spent, each job spending its amount evenly; infinite when never."""
    if sum(amounts) < limit:
        return math.inf
    low, high = 0.0, max(job.end for job in jobs)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        spent = sum(a * job.part_at(middle) for a, job in zip(amounts, jobs, strict=True))
        low, high = (low, middle) if spent >= limit else (middle, high)
    return high


def _gain(jobs: Sequence[Job], best: float, seconds: float) -> float:
    """By how much the best H-mean grows within some seconds."""
    begun = (job for job in jobs if job.after < best and job.start < seconds)
    least = min((job.error_at(seconds) for job in begun), default=best)
    return math.exp(best) - math.exp(min(least, best))
