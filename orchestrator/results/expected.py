"""What a trial's settings score on average over seeds, as far as the scores of a run can tell.

The best of many first scores is high by luck too (the winner's curse: Capen, Clapp and Campbell,
"Competitive bidding in high-risk situations", 1971), and a score of one seed and a mean of several
cannot be compared as they are. Both can once each is drawn towards the middle of the run by the
share of it that is luck: the empirical Bayes estimate of Efron and Morris, "Data analysis using
Stein's estimator and its generalizations" (1975). Trials are chosen for new seeds by scores that
the estimate has seen, so the choice does not bias it, and first scores count as one seed more:
Dawid, "Selection paradoxes of Bayesian inference" (1994).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from orchestrator.trials.records import TrialRecord, TrialState


def expected_hmeans(records: Sequence[TrialRecord]) -> dict[str, float]:
    """The expected H-mean of each trial that has a score; empty before any has new seeds.

    Those of trials that are not finished are of the epochs that they have. `luck` is the variance
    over seeds, pooled over the finished trials that have new ones, with their first scores. `above`
    and `below` are those of settings on either side of the median: a search has a long tail of bad
    settings, which says nothing of how much the good ones differ. One trial alone has nothing to be
    drawn to.
    """
    scored = {
        r.trial: (r.hmean, *r.confirmed)  # of all seeds, the trial's own first
        for r in records
        if r.hmean is not None and math.isfinite(r.hmean)
    }
    over = {r.trial for r in records if r.state is TrialState.FINISHED}
    finished = [scores for trial, scores in scored.items() if trial in over]
    again = [scores for scores in finished if len(scores) > 1]
    if not again:
        return {}
    luck = sum(_squares(scores, fmean(scores)) for scores in again)
    luck /= sum(len(scores) - 1 for scores in again)
    firsts = [scores[0] for scores in finished]
    if luck == 0 or len(firsts) == 1:
        return {trial: fmean(scores) for trial, scores in scored.items()}
    centre = median(firsts)
    above = _of_settings([s for s in firsts if s > centre], firsts, luck)
    below = _of_settings([s for s in firsts if s < centre], firsts, luck)

    def expected(scores: Sequence[float]) -> float:
        mean = fmean(scores)
        settings = above if mean > centre else below
        return centre + settings / (settings + luck / len(scores)) * (mean - centre)

    return {trial: expected(scores) for trial, scores in scored.items()}


def _of_settings(side: Sequence[float], firsts: Sequence[float], luck: float) -> float:
    """The variance of settings on a side: what luck does not explain of its scores, or 0.

    A side is taken for one half of a symmetric sample: for equal sides that is its variance.
    """
    return max(0.0, 2 * _squares(side, median(firsts)) / (len(firsts) - 1) - luck)


def _squares(scores: Sequence[float], centre: float) -> float:
    return sum((score - centre) ** 2 for score in scores)
