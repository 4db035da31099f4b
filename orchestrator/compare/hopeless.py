"""Trainings that are given up: far behind what others of the search had long before.

Halving lets a bad trial wait, and first at its next rung, which may be a night away. Here it is
stopped at any epoch. To spare slow starters it is measured by what others had after half as many
epochs, and only a share of that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.run.as_records import HOPELESS, LATEST, LOSSES, TWIN
from orchestrator.run.study import Study

FEWEST = 5  # others to compare with
FIRST, PART = 4, 4  # every training gets so many epochs, and one in so many of all its epochs
HEAD_START = 2  # others are looked at where they had trained so many times less
LOSS = "loss/total"  # of a report
FALL, OF_FALL = 0.05, 0.1  # of a loss: the least that tells, and the part of others' to be had
Curve = Mapping[int, float]  # by epoch


def why_hopeless(
    epoch: int, epochs: int, hmean: float, others: Iterable[Curve], share: float
) -> str | None:
    """Why to stop a training whose best H-mean after `epoch` of `epochs` is `hmean`; else None.

    others: of each other trial the best H-mean so far, by epoch. It is stopped when most of those
    that have trained half as long had so much then that `hmean` is less than this `share` of it.
    """
    before = epoch // HEAD_START
    reached = [v for v in others if v and min(v) <= before <= max(v)]
    if epoch < max(FIRST, epochs / PART) or len(reached) < FEWEST:
        return None
    typical = median_low(max(v for at, v in values.items() if at <= before) for values in reached)
    if hmean >= share * typical:
        return None
    return (
        f"hopeless: H-mean {hmean:.4f} after {epoch} epochs, while most of {len(reached)} others "
        f"had {typical:.4f} or more after {before} (search.hopeless={share:g})"
    )


def why_flat(epoch: int, epochs: int, losses: Curve, others: Iterable[Curve]) -> str | None:
    """Why to stop a training whose loss does not fall; None to go on.

    others: the losses of other trials. Each loss is taken over its own first one. It is stopped
    when most of those that have trained half as long had lost FALL then, and it has lost less than
    OF_FALL of that.
    """
    before = epoch // HEAD_START
    falls = [_fall(v, before) for v in others if v and min(v) <= before <= max(v)]
    if epoch < max(FIRST, epochs / PART) or len(falls) < FEWEST or not losses:
        return None
    typical, own = median_low(falls), _fall(losses, epoch)
    if typical < FALL or own >= OF_FALL * typical:
        return None
    return (
        f"hopeless: its loss has fallen by {max(own, 0.0):.1%} in {epoch} epochs, while that of "
        f"most of {len(falls)} others had by {typical:.1%} or more after {before}"
    )


def _fall(losses: Curve, epoch: int) -> float:
    """What a loss has lost up to an epoch, of what it was first."""
    later = [loss for at, loss in losses.items() if min(losses) < at <= epoch]
    return 1 - min(later, default=losses[min(losses)]) / losses[min(losses)]


@dataclass(frozen=True)
class Hopeless:
    """Gives up trials of a study, see `why_hopeless` and `why_flat`; with a `share` of 0 none.

    epochs: of a whole training. cost: the work of an epoch by a trial's settings; it is compared
    with trials of no more.
    """

    study: Study
    epochs: int
    share: float
    cost: Callable[[Mapping[str, Any]], float]

    def why(self, number: int, epoch: int, hmean: float, loss: float | None = None) -> str | None:
        """Why to stop a trial with its best H-mean and its loss at this epoch; None to go on."""
        if not self.share or TWIN in self.study.trial(number).user_attrs:  # that trains nothing
            return None
        work = self.cost(self.study.trial(number).params)
        others = [
            trial
            for trial in self.study.trials
            if trial.number != number
            and TWIN not in trial.user_attrs
            and self.cost(trial.params) <= work
        ]
        hmeans = [trial.intermediate_values for trial in others]
        behind = why_hopeless(epoch, self.epochs, hmean, hmeans, self.share)
        if behind or hmean > 0:  # what has found a word has learnt something
            return behind
        losses = _losses(self.study.trial(number)) | ({} if loss is None else {epoch: loss})
        return why_flat(epoch, self.epochs, losses, map(_losses, others))

    def given_up(self, number: int) -> bool:
        """End a trial that is hopeless by its last report, short of its end; whether it was."""
        trial = self.study.trial(number)
        if trial.user_attrs.get(LATEST, {}).get("finished") or not trial.intermediate_values:
            return False
        epoch = max(trial.intermediate_values)
        reason = self.why(number, epoch, trial.intermediate_values[epoch])
        if reason is not None:
            self.study.note(number, **{HOPELESS: reason})
            self.study.end(number, OptunaState.PRUNED)
        return reason is not None


def _losses(trial: FrozenTrial) -> dict[int, float]:
    return {int(epoch): loss for epoch, loss in trial.user_attrs.get(LOSSES, {}).items()}
