"""The best trials trained again with new seeds, to tell good settings from lucky trainings.

The best of many scores is high by luck too, and the more trials there are, the more so (the
winner's curse). Another seed gives another order of pages, other crops and other first weights, and
its score was not chosen. What is done and what is left to do follows from the study alone: leaders
are the best finished trials, which change no more, and each training that is over has its result
there. One that was cut off goes on from the checkpoint in its folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.config.settings import ConfirmConfig
from orchestrator.events.kinds import (
    Confirmation,
    Decision,
    Proposed,
    Tell,
    untold,
    without_pages,
)
from orchestrator.propose.again import AgainJobs, Training
from orchestrator.results.ranking import leaders
from orchestrator.run.run import Run
from orchestrator.run.study import Study
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.failure import NOTHING_SHARED, Sharing

SEEDS = 2**31  # as many as there are, see train.seed
SEEDS_FOLDER = "seeds"  # in a trial's folder, with a folder for each new seed


def trainings(run: Run) -> list[Training]:
    """All trainings that the settings ask for, the leaders in turn for each new seed.

    New seeds are those after a trial's own.
    """
    best = leaders(run.records(), run.config.confirm.top)
    out = []
    for more in range(1, run.config.confirm.seeds + 1):
        for leader in best:
            seed = (run.space.train_config(leader.params).train.seed + more) % SEEDS
            place = run.trial_folder(int(leader.trial)) / SEEDS_FOLDER / str(seed)
            out.append(Training(leader, seed, place, f"trial {leader.trial} seed {seed}"))
    return out


def is_confirmed(run: Run) -> bool:
    """Whether every training that the settings ask for is over."""
    return not SeedJobs(run.study, trainings(run)).left


def extra_cost(wanted: ConfirmConfig, space: SearchSpace) -> str:
    """What a confirmation adds to the cost of a search, for the end of that line."""
    if wanted.top == 0:
        return ""
    return (
        f"; confirm.top={wanted.top} confirm.seeds={wanted.seeds} adds up to "
        f"{wanted.top * wanted.seeds} whole trainings of {space.budget.epochs} epochs"
    )


class SeedJobs(AgainJobs):
    """The trainings with new seeds that have no result in the study, until all have.

    `tell` hears of each that begins, is tried again or is over.
    """

    def __init__(
        self,
        study: Study,
        every: Sequence[Training],
        tell: Tell = untold,
        sharing: Sharing = NOTHING_SHARED,
    ) -> None:
        super().__init__(every, sharing)
        self._study, self._tell = study, tell
        self._results = study.confirmations()

    def result(self, training: Training) -> Mapping[str, Any] | None:
        """What the study has of it."""
        return self._results.get(training.leader.trial, {}).get(training.seed)

    def begins(self, training: Training) -> None:
        """Tell of it."""
        leader = training.leader
        given = {"trial": leader.trial, "params": leader.params, "seed": training.seed}
        self._tell(Proposed(why="confirmation", **given))

    def tried_again(self, training: Training, reason: str) -> None:
        """Tell why."""
        given = {"trial": training.leader.trial, "seed": training.seed, "reason": reason}
        self._tell(Decision(decision="again", **given))

    def keep(self, training: Training, result: dict[str, Any]) -> None:
        """Put it into the study, and tell of it."""
        leader = training.leader
        self._study.keep_confirmation(leader.trial, training.seed, result)
        self._results.setdefault(leader.trial, {})[training.seed] = result
        self._tell(
            Confirmation(
                trial=leader.trial,
                seed=training.seed,
                hmean=None if result["reason"] else result["hmean"],
                first_hmean=leader.hmean,
                reason=result["reason"],
                record=without_pages(self._study.record(int(leader.trial))),
            )
        )
