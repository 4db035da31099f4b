"""What the shipped weights are to score on pages that no choice has seen.

The best of many scores is high by luck too: trials are compared on the same validation pages, and
one of them suits these best. So the choice is made again on pages drawn with replacement, and what
it takes is scored on the pages that were not drawn (bootstrap bias correction: Tsamardinos,
Greasidou and Borboudakis, "Bootstrapping the out-of-sample predictions for efficient and accurate
cross-validation", 2018). Scores of pages lie near 1 with a long tail below, so the intervals are
those of Student's t with its quantiles drawn from these very pages (the bootstrap-t of Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.results.ranking import best, known_pages, merits, ranked
from orchestrator.trials.records import TrialRecord

DRAWS = 1000
LEVEL = 0.95
_KEPT = 8
_NO_SPREAD = 1e-9  # of pages that all score the same
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NewPages:
    """The H-mean to expect on new pages of the kind of the validation pages.

    trial: whose weights are shipped, chosen among `trials` by `pages` pages, where it has `seen`.
    hmean: what it is to have on others. low, high: 95 of 100 sets of as many new pages have their
    mean between them. mean_low, mean_high: so has the mean of all pages of this kind.
    """

    trial: str
    trials: int
    pages: int
    seen: float
    hmean: float
    low: float
    high: float
    mean_low: float
    mean_high: float


def new_pages(records: Sequence[TrialRecord]) -> NewPages | None:
    """What the trial that is shipped (`ranking.best`) is to score; None: `why_not` says why."""
    top = best(records)
    if top is None or top.hmean is None or _lacks(top) is not None:
        return None
    others = [r for r in ranked(records) if r is not top and r.hmean is not None]
    candidates = [top, *(r for r in others if len(known_pages(r)))]  # of equal ones the first
    merit_of = merits(records)
    lost, spread = chosen_again(
        tuple(r.page_bytes or b"" for r in candidates),
        tuple(merit_of[r.trial] for r in candidates),
    )
    hmean, scores = max(0.0, top.hmean - lost), known_pages(top)
    low, high = between(scores, hmean, spread, of_a_set=True)
    mean_low, mean_high = between(scores, hmean, spread, of_a_set=False)
    return NewPages(
        trial=top.trial,
        trials=len(candidates),
        pages=len(scores),
        seen=top.hmean,
        hmean=hmean,
        low=low,
        high=high,
        mean_low=mean_low,
        mean_high=mean_high,
    )


def why_not(records: Sequence[TrialRecord]) -> str | None:
    """Why nothing can be said of new pages; None where something can."""
    top = best(records)
    return "no trial has a score" if top is None else _lacks(top)


def _lacks(top: TrialRecord) -> str | None:
    if top.page_bytes is None:
        return f"the page scores of trial {top.trial} were not kept"
    if len(known_pages(top)) < 2:
        return f"trial {top.trial} has scores of fewer than two pages"
    return None


def in_words(records: Sequence[TrialRecord]) -> str:
    """What to expect on new pages, or why that is not known; no full stop."""
    found = new_pages(records)
    if found is None:
        return f"expected on new pages: not known, since {why_not(records)}"
    return (
        f"expected on new pages: {found.hmean:.4f} ({found.low:.4f} to {found.high:.4f}); "
        f"{found.seen:.4f} on the pages it was chosen by"
    )


def as_json(records: Sequence[TrialRecord]) -> dict[str, Any]:
    """The fields of NewPages, or the `reason` why there are none."""
    found = new_pages(records)
    return {"reason": why_not(records)} if found is None else asdict(found)


@lru_cache(maxsize=_KEPT)
def chosen_again(packed: tuple[bytes, ...], merit: tuple[float, ...]) -> tuple[float, float]:
    """What choosing costs: how far the first trial's mean lies above what to expect of it.

    `packed` are the page H-means of each trial, in the order in which equal ones are chosen. Each
    is moved so that its mean is its `merit`, by which trials are compared: that is another one
    than the mean over these pages once any has new seeds. In each draw the first trial is compared
    with the chosen one on the pages that were not drawn, where hard pages cancel out.

    Beside it the standard deviation of the scores of chosen trials on pages that were not drawn:
    a winner's own pages differ too little, since it won where it had few bad ones.
    """
    scores = _table(packed)
    scores += (np.array(merit) - np.nanmean(scores, axis=1))[:, None]
    there = np.isfinite(scores)
    pages = scores.shape[1]
    drawn = np.random.default_rng(0).multinomial(pages, np.full(pages, 1 / pages), DRAWS)
    counts = drawn @ there.T.astype(float)
    sums = drawn @ np.where(there, scores, 0.0).T
    chosen = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf).argmax(axis=1)
    unseen = np.where(drawn == 0, scores[chosen], np.nan)
    differences = scores[0] - unseen
    compared = np.isfinite(differences).sum(axis=1)
    means = np.nansum(differences, axis=1)[compared > 0] / compared[compared > 0]
    lost = max(0.0, float(means.mean())) if len(means) else 0.0  # no choice does better unseen
    return lost, float(np.nanstd(unseen) * np.sqrt(pages / (pages - 1)))


def between(scores: Floats, hmean: float, spread: float, *, of_a_set: bool) -> tuple[float, float]:
    """Where in 95 of 100 cases the mean of new pages lies, around `hmean` and within [0, 1].

    It is the mean of a set of as many new pages as `scores` (`(P,)`, P at least 2) are, or that of
    all pages there are. `spread` is the standard deviation of pages.
    """
    rng = np.random.default_rng(0)
    size = (DRAWS, len(scores))
    known = rng.choice(scores, size)
    new = rng.choice(scores, size).mean(axis=1) if of_a_set else scores.mean()
    ratios = (new - known.mean(axis=1)) / np.maximum(known.std(axis=1, ddof=1), _NO_SPREAD)
    low, high = hmean + spread * np.quantile(ratios, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return max(0.0, float(low)), min(1.0, float(high))


def _table(packed: Sequence[bytes]) -> Floats:
    """`(T, P)` page H-means, NaN for a page that a trial has no score of."""
    rows = [np.frombuffer(one) for one in packed]
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, scores in zip(table, rows, strict=True):
        row[: len(scores)] = scores
    return table
