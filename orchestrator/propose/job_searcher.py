"""What the searchers here share: a job whose worker was lost is handed to Ray Tune again."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from orchestrator.trials.failure import Failure, Kind, Retries
from orchestrator.trials.records import METRIC


class JobSearcher(Searcher):
    """A searcher whose only state is the study, and which is told why a worker was lost."""

    def __init__(self) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._failures: dict[str, Failure] = {}  # by Tune's trial id
        self._retries = Retries()

    def explain_failure(self, trial_id: str, failure: Failure) -> None:
        """Say why a job was lost, before Tune does (it only says that it was).

        The first to say so is right: who ends a worker knows why, the others see that it is gone.
        """
        self._failures.setdefault(trial_id, failure)

    def verdict(self, trial_id: str, number: int, epoch: int) -> str | None:
        """Why a lost job has failed; None when it is to be tried again.

        `number` is that of what is trained, `epoch` the last one that it reported.
        """
        failure = self._failures.pop(trial_id, Failure(Kind.LOST_WORKER, "nothing is known of it"))
        return self._retries.verdict(number, epoch, failure)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study's database has everything already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore (see `save`)."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is not used; a database cannot be."""
        return {}
