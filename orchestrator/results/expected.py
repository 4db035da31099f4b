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
from dataclasses import dataclass
from statistics import fmean, median

from orchestrator.trials.records import TrialRecord, TrialState


@dataclass(frozen=True)
class Spread:
    """How settings differ, and how seeds do: variances of H-means.

    above, below: of settings, on either side of `centre`; a search has a long tail of bad ones,
    which says nothing of how much the good ones differ. luck: of seeds with the same settings.
    """

    centre: float
    above: float
    below: float
    luck: float

    def expected(self, scores: Sequence[float]) -> float:
        """The H-mean to expect of settings that had these `scores`, each with another seed."""
        mean = fmean(scores)
        settings = self.above if mean > self.centre else self.below
        if self.luck == 0:
            return mean
        return self.centre + settings / (settings + self.luck / len(scores)) * (mean - self.centre)


def expected_hmeans(records: Sequence[TrialRecord]) -> dict[str, float]:
    """The expected H-mean of each trial that has a score; empty before any has new seeds.

    Those of trials that are not finished are of the epochs that they have.
    """
    scored = [r for r in records if r.hmean is not None and math.isfinite(r.hmean)]
    spread = _spread([r for r in scored if r.state is TrialState.FINISHED])
    return {} if spread is None else {r.trial: spread.expected(_scores(r)) for r in scored}


def _scores(record: TrialRecord) -> tuple[float, ...]:
    """The scores of all seeds, the trial's own first."""
    assert record.hmean is not None
    return record.hmean, *record.confirmed


def _spread(finished: Sequence[TrialRecord]) -> Spread | None:
    """The spread among finished trials; None without new seeds.

    `luck` is pooled over the trials that have new seeds, with their first scores. The scores of a
    side differ by settings and luck, so its own variance is what luck does not explain, or 0. A
    side is taken for one half of a symmetric sample: for equal sides that is its variance. One
    trial alone has nothing to be drawn to.
    """
    again = [_scores(r) for r in finished if r.confirmed]
    if not again:
        return None
    luck = sum(_squares(scores, fmean(scores)) for scores in again)
    luck /= sum(len(scores) - 1 for scores in again)
    firsts = [_scores(r)[0] for r in finished]
    if len(firsts) == 1:
        return Spread(firsts[0], math.inf, math.inf, 0.0)
    centre = median(firsts)
    sides = [s for s in firsts if s > centre], [s for s in firsts if s < centre]
    above, below = (
        max(0.0, 2 * _squares(side, centre) / (len(firsts) - 1) - luck) for side in sides
    )
    return Spread(centre, above, below, luck)


def _squares(scores: Sequence[float], centre: float) -> float:
    return sum((score - centre) ** 2 for score in scores)
