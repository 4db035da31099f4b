"""The trials of a run in order of merit, and how sure the scores are.

Only finished trials get a rank, because a stopped trial's score belongs to fewer epochs.
The others follow without one: stopped, running, pending, failed, each by H-mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.records import TrialRecord, TrialState

COLUMNS = (
    *("rank", "trial", "state", "hmean", "hmean_low", "hmean_high", "precision", "recall"),
    *("hmean_pooled", "iou_hmean", "epochs", "seconds", "params_m"),
)
LAST_COLUMNS = ("tuned_hmean", "crossfit_hmean", "reason")  # after the parameters
BOOTSTRAP_DRAWS = 2000
_ORDER = (
    TrialState.FINISHED,
    TrialState.STOPPED,
    TrialState.RUNNING,
    TrialState.PENDING,
    TrialState.FAILED,
)


def _merit(record: TrialRecord) -> tuple[float, float, str]:
    """Smaller is better: H-mean, then IoU H-mean, then the earlier trial."""
    return (-_number(record.hmean), -_number(record.iou_hmean), record.trial)


def _number(score: float | None) -> float:
    return score if score is not None and math.isfinite(score) else -1.0


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Best first: finished trials by H-mean; then stopped, running, pending, failed ones."""
    return sorted(records, key=lambda r: (_ORDER.index(r.state), *_merit(r)))


def best(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The best finished trial; without one, the best of those that have a score."""
    scored = [r for r in records if _number(r.hmean) >= 0]
    finished = [r for r in scored if r.state is TrialState.FINISHED]
    return min(finished or scored, key=_merit, default=None)


def interval(
    page_hmeans: Sequence[float] | None, *, level: float = 0.95
) -> tuple[float, float] | None:
    """A percentile bootstrap interval for the mean of page H-means; None below two pages.

    Efron, "Bootstrap methods: another look at the jackknife" (1979). The draws come from a
    fixed seed, so trials with the same pages are resampled alike and files are repeatable.
    """
    if page_hmeans is None or len(page_hmeans) < 2:
        return None
    scores: NDArray[np.float64] = np.asarray(page_hmeans, dtype=np.float64)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(scores), np.full(len(scores), 1 / len(scores)), BOOTSTRAP_DRAWS)
    means = counts @ scores / len(scores)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rows(records: Sequence[TrialRecord], parameters: Sequence[str]) -> list[dict[str, Any]]:
    """One dict a trial, best first: COLUMNS, parameters, LAST_COLUMNS; None is an empty cell."""
    out = []
    for position, record in enumerate(ranked(records), start=1):
        low, high = interval(record.page_hmeans) or (None, None)
        values = record.to_dict() | {
            "rank": position if record.state is TrialState.FINISHED else None,
            "hmean_low": low,
            "hmean_high": high,
        }
        row = {name: finite(values[name]) for name in COLUMNS}
        row["seconds"] = round(record.seconds, 2)
        row |= {key: finite(record.params.get(key)) for key in parameters}
        out.append(row | {name: finite(values[name]) for name in LAST_COLUMNS})
    return out


def finite(value: Any) -> Any:
    """NaN is no JSON and no score: an empty cell."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
