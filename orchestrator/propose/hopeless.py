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

from optuna.trial import TrialState as OptunaState

from orchestrator.run.as_records import HOPELESS, LATEST, TWIN
from orchestrator.run.study import Study

FEWEST = 5  # others to compare with
FIRST, PART = 4, 4  # every training gets so many epochs, and one in so many of all its epochs
HEAD_START = 2  # others are looked at where they had trained so many times less


def why_hopeless(
    epoch: int, epochs: int, hmean: float, others: Iterable[Mapping[int, float]], share: float
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


@dataclass(frozen=True)
class Hopeless:
    """Gives up trials of a study, see `why_hopeless`; with a `share` of 0 none.

    epochs: of a whole training. cost: the work of an epoch by a trial's settings; it is compared
    with trials of no more.
    """

    study: Study
    epochs: int
    share: float
    cost: Callable[[Mapping[str, Any]], float]

    def why(self, number: int, epoch: int, hmean: float) -> str | None:
        """Why to stop a trial with its best H-mean at this epoch; None to go on."""
        if not self.share or TWIN in self.study.trial(number).user_attrs:  # that trains nothing
            return None
        work = self.cost(self.study.trial(number).params)
        others = [
            trial.intermediate_values
            for trial in self.study.trials
            if trial.number != number
            and TWIN not in trial.user_attrs
            and self.cost(trial.params) <= work
        ]
        return why_hopeless(epoch, self.epochs, hmean, others, self.share)

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
