"""Trainings with new seeds as jobs for Ray Tune, and what they gave as attributes of the study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search import Searcher

from orchestrator.propose.job_searcher import JobSearcher
from orchestrator.propose.twins import Twin, training_part
from orchestrator.results.ranking import finite
from orchestrator.run import study as store
from orchestrator.trials.records import METRIC, TrialRecord


@dataclass(frozen=True)
class Training:
    """A leader trained again with `seed`; `folder` is that of this training."""

    leader: TrialRecord
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"trial {self.leader.trial} seed {self.seed}"

    def is_like(self, other: Training) -> bool:
        """Whether both have the same weights, and only post-processing apart."""
        mine, others = training_part(self.leader.params), training_part(other.leader.params)
        return self.seed == other.seed and mine == others


class SeedSearcher(JobSearcher):
    """Gives Tune the trainings that have no result in the study, until all have.

    Two that differ in post-processing alone are one training: the second waits for the first, and
    its weights are scored.
    """

    def __init__(
        self,
        study: optuna.Study,
        every: Sequence[Training],
        *,
        say: Callable[[str], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._study, self._every, self._say, self._ended = study, every, say, ended
        self._results = store.confirmations(study)
        self._live: dict[str, Training] = {}  # by Tune's trial id
        self._epochs: dict[str, int] = {}  # the last one reported, by Tune's trial id

    @property
    def left(self) -> int:
        """How many trainings have no result."""
        return sum(self._result(training) is None for training in self._every)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next training as Tune's config (see `as_trainable`)."""
        for training in self._every:
            if training in self._live.values() or self._result(training) is not None:
                continue
            alike = self._alike(training)
            if any(self._result(other) is None for other in alike):
                continue
            self._live[trial_id] = training
            job: dict[str, Any] = {
                "number": int(training.leader.trial),
                "params": training.leader.params,
                "folder": str(training.folder),
                "seed": training.seed,
            }
            twins = [twin for other in alike if (twin := self._twin(other))]
            return job | {"twin": twins[0]} if twins else job
        return None if self._live else Searcher.FINISHED

    def _alike(self, training: Training) -> list[Training]:
        """Trainings that come before this one and give the same weights."""
        before = self._every[: self._every.index(training)]
        return [other for other in before if training.is_like(other)]

    def _twin(self, training: Training) -> Twin | None:
        result = self._result(training)
        if result is None or result["reason"]:
            return None
        return Twin(
            source=training.folder,
            epochs=result["epochs"],
            best_epoch=result["best_epoch"],
            finished=True,
        )

    def _result(self, training: Training) -> dict[str, Any] | None:
        return self._results.get(training.leader.trial, {}).get(training.seed)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note how far it is; the last report has everything else."""
        self._epochs[trial_id] = int(result.get("epoch", 0))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep what the training gave, or why it failed; a lost one is the next again."""
        training, last = self._live.pop(trial_id), result or {}
        epoch = self._epochs.pop(trial_id, 0)
        reason = _fault(last)
        if error:
            reason = self.verdict(trial_id, self._every.index(training), epoch)
            if reason is None:
                return
        own = _figures(last) | {"reason": reason}
        store.keep_confirmation(self._study, training.leader.trial, training.seed, own)
        self._results.setdefault(training.leader.trial, {})[training.seed] = own
        gave = f"failed: {reason}" if reason else f"H-mean {own['hmean']:.4f}"
        self._say(f"{training.name}: {gave} (first {training.leader.hmean:.4f})")
        self._ended()


def _fault(result: Mapping[str, Any]) -> str | None:
    """Why a training that ended has failed; None when it has not."""
    if result.get("error"):
        return str(result["error"])
    value = result.get(METRIC)
    if value is None or not math.isfinite(value):
        return "it ended without a score"
    if not result.get("finished"):
        return f"it ended after epoch {result.get('epoch', 0)}, before the last one"
    return None


def _figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a last report, plain and without what is not a number."""
    epoch = int(result.get("epoch", 0))
    return {
        "hmean": finite(result.get(METRIC)),
        "iou_hmean": finite(result.get("best_iou_hmean")),
        "epochs": epoch,
        "best_epoch": int(result.get("best_epoch", epoch)),
        "seconds": float(result.get("seconds", 0.0)),
    }
