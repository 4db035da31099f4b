"""The trials of a run in order of merit, and how sure scores and places are.

Only finished trials get a rank, because a stopped trial's score belongs to fewer epochs.
The others follow without one: stopped, paused, running, pending, failed, each by H-mean.

Where trials were trained again with new seeds, all are ordered by the H-mean to expect of another
seed (see `expected`), which a lucky first score raises less than several of them do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.results.comparison import Standing, ties
from orchestrator.results.expected import expected_hmeans
from orchestrator.trials.pareto import SCORE_AND_SIZE, Objectives, front, value_of
from orchestrator.trials.records import TrialRecord, TrialState, finite

COLUMNS = (
    *("rank", "trial", "state", "hmean", "hmean_low", "hmean_high", "precision", "recall"),
    *("hmean_pooled", "iou_hmean", "epochs", "seconds", "params_m"),
)
LAST_COLUMNS = (  # after the parameters
    *("confirmed_hmean", "confirmed_sd", "confirmed_seeds", "expected_hmean"),
    *("tuned_hmean", "crossfit_hmean", "latency_ms"),
    *("p_next", "tied", "pareto", "reason"),
)
BOOTSTRAP_DRAWS = 2000
_INTERVALS_KEPT = 1 << 13
_ORDER = (
    TrialState.FINISHED,
    TrialState.STOPPED,
    TrialState.PAUSED,
    TrialState.RUNNING,
    TrialState.PENDING,
    TrialState.FAILED,
)


def _number(score: float | None) -> float:
    return score if score is not None and math.isfinite(score) else -1.0


def confirmed_hmean(record: TrialRecord) -> float | None:
    """The mean H-mean of the new seeds; None without any."""
    return fmean(record.confirmed) if record.confirmed else None


def confirmed_sd(record: TrialRecord) -> float | None:
    """The sample standard deviation of that H-mean over the new seeds; None below two."""
    return stdev(record.confirmed) if len(record.confirmed) > 1 else None


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Best first: finished, stopped, paused, running, pending, failed, each by merit.

    Of equal ones that with the higher mean over new seeds, H-mean, IoU H-mean; then the earlier.
    """
    merit_of = merits(records)

    def place(record: TrialRecord) -> tuple[Any, ...]:
        scores = (confirmed_hmean(record), record.hmean, record.iou_hmean)
        state, merit = _ORDER.index(record.state), merit_of[record.trial]
        return state, -merit, *(-_number(score) for score in scores), record.trial

    return sorted(records, key=place)


def leaders(records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The `top` best finished trials by their first scores, whatever new seeds have said."""
    finished = [r for r in records if r.state is TrialState.FINISHED and r.hmean is not None]
    return ranked([replace(record, confirmed=()) for record in finished])[:top]


def best(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial whose weights are the best there are; None while none has a score.

    It may be one that was paused or stopped: what it would reach with all epochs is not known, but
    its weights have the score that they have. Of equal ones that which `ranked` has first.
    """
    merit_of = merits(records)
    scored = [r for r in ranked(records) if _number(r.hmean) >= 0]
    return max(scored, key=lambda r: merit_of[r.trial], default=None)


def merits(records: Sequence[TrialRecord]) -> dict[str, float]:
    """The H-mean of each trial, or, as soon as any has new seeds, the H-mean to expect."""
    return {r.trial: _number(r.hmean) for r in records} | expected_hmeans(records)


def how_far(record: TrialRecord, epochs: int) -> str:
    """A trial's state in words, such as `paused after epoch 3 of 27`, a whole one's `epochs`."""
    if record.state is TrialState.FINISHED:
        return record.state.value
    return f"{record.state} after epoch {record.epochs} of {epochs}"


def scored_pages(record: TrialRecord) -> int:
    """How many pages a trial has a score of."""
    return len(known_pages(record))


def known_pages(record: TrialRecord) -> NDArray[np.float64]:
    """The page H-means of a trial, in the order of pages, without those that it has none of."""
    return _known(record.page_bytes)


def _known(page_bytes: bytes | None) -> NDArray[np.float64]:
    """The scores among packed ones, without the NaN of pages that have none."""
    scores: NDArray[np.float64] = np.frombuffer(page_bytes or b"")
    return scores[np.isfinite(scores)]


@lru_cache(maxsize=_INTERVALS_KEPT)
def interval(page_bytes: bytes | None, *, level: float = 0.95) -> tuple[float, float] | None:
    """A percentile bootstrap interval for the mean of packed page H-means; None below two pages.

    A NaN is a page without a score, and left out.

    Efron, "Bootstrap methods: another look at the jackknife" (1979). The draws come from a
    fixed seed, so trials with the same pages are resampled alike and files are repeatable.
    """
    scores = _known(page_bytes)
    if len(scores) < 2:
        return None
    from scipy import stats  # takes half a second, which commands without scores are spared

    found = stats.bootstrap(
        (scores,),
        np.mean,
        vectorized=True,
        n_resamples=BOOTSTRAP_DRAWS,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = sorted(map(float, found.confidence_interval))  # equal ones differ by rounding
    return low, high


def last_columns(objectives: Objectives) -> tuple[str, ...]:
    """The columns after the parameters, with objectives that are in no column otherwise."""
    others = [name for name, _ in objectives if name not in (*COLUMNS, *LAST_COLUMNS)]
    return (*LAST_COLUMNS, *others)


def rows(
    records: Sequence[TrialRecord],
    parameters: Sequence[str],
    objectives: Objectives = SCORE_AND_SIZE,
) -> list[dict[str, Any]]:
    """One dict a trial, best first: COLUMNS, parameters, `last_columns`; None is an empty cell.

    `p_next` and `tied` are those of `_standings`, `expected_hmean` is that of `expected_hmeans`,
    `pareto` says whether the trial is on the front of `objectives`; only finished trials have them.
    """
    ordered = ranked(records)
    finished = [record for record in ordered if record.state is TrialState.FINISHED]
    standings, expected = _standings(finished), expected_hmeans(finished)
    efficient = {record.trial for record in front(finished, objectives)}
    out = []
    for position, record in enumerate(ordered):
        is_finished = position < len(finished)
        standing = standings[position] if is_finished else Standing()
        low, high = interval(record.page_bytes) or (None, None)
        values = vars(record) | {  # not to_dict(), which copies the page scores
            "state": record.state.value,
            "seconds": round(record.seconds, 2),
            "rank": position + 1 if is_finished else None,
            "hmean_low": low,
            "hmean_high": high,
            "confirmed_hmean": confirmed_hmean(record),
            "confirmed_sd": confirmed_sd(record),
            "confirmed_seeds": len(record.confirmed) or None,
            "expected_hmean": expected.get(record.trial),
            "p_next": standing.p_next,
            "tied": standing.tied,
            "pareto": record.trial in efficient if is_finished else None,
        }
        values |= {name: value_of(record, name) for name, _ in objectives}
        row = {name: values[name] for name in COLUMNS}
        row |= {key: record.params.get(key) for key in parameters}
        row |= {name: values[name] for name in last_columns(objectives)}
        out.append({name: finite(value) for name, value in row.items()})
    return out


def _standings(finished: Sequence[TrialRecord]) -> list[Standing]:
    """`comparison.ties` of ranked trials, where their order is that of the scores it compares.

    It compares the pages of first trainings. Confirmed trials stand in another order: of two, the
    lower one may have been better there, and a small p-value would seem to speak for the upper
    one. So they are compared with nothing, nor is any trial with the first once one is confirmed.
    """
    standings = ties(finished)
    if not any(record.confirmed for record in finished):
        return standings
    return [
        Standing(p_next=None if record.confirmed or below.confirmed else standing.p_next)
        for standing, record, below in zip(
            standings, finished, [*finished[1:], *finished[-1:]], strict=True
        )
    ]
