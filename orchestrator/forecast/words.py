"""A forecast in words, and whether it is reason enough to end a search."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.forecast.forecast import Forecast
from orchestrator.forecast.seen import Seen
from orchestrator.trials.duration import duration

LEAST_TRIED = 10  # trials at their first rung
LEAST_WHOLE = 3  # trials trained to their end


def in_words(expected: Forecast) -> str:
    """Such as `about 1h 20m left (58m to 1h 50m), next hour: +0.0012 expected`."""
    text = f"about {duration(expected.seconds)} left"
    low, high = duration(expected.low), duration(expected.high)
    text += f" ({low} to {high})" if low != high else ""
    if expected.gain is not None:
        text += f", next hour: +{expected.gain:.4f} expected"
    return text


def why_stop(expected: Forecast, trials: Sequence[Seen], worth: float) -> str | None:
    """Why to end a search whose hours are to bring `worth` of H-mean each; None to go on."""
    tried = sum(trial.reached > 0 for trial in trials)
    whole = sum(trial.reached == len(trial.steps) for trial in trials)
    if tried < LEAST_TRIED or whole < LEAST_WHOLE:
        return None
    if expected.rate is None or expected.gain is None or expected.rate >= worth:
        return None
    best = max(trial.hmean for trial in trials)
    return (
        f"budget.stop=auto: after {tried} trials, {whole} of them to the end, the next hour is "
        f"expected to bring {expected.gain:+.4f} to the best H-mean of {best:.4f}, and a longer "
        f"look {expected.rate:+.4f} an hour, less than budget.worth={worth:g}"
    )


def left_of(trial: Seen) -> float | None:
    """Seconds until a trial at work is compared or over; None before its pace is known."""
    if trial.pace is None:
        return None
    return max(0.0, (trial.until - trial.epoch) * trial.pace - trial.since)
