"""The best trials trained again with new seeds, to tell good settings from lucky trainings.

The best of many scores is high by luck too, and the more trials there are, the more so (the
winner's curse). Another seed gives another order of pages, other crops and other first weights, and
its score was not chosen. What is done and what is left to do follows from the study alone: leaders
are the best finished trials, which change no more, and each training that is over has its result
there. One that was cut off goes on from the checkpoint in its folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from ray.tune import Callback
from ray.tune.search import Searcher

from orchestrator import study as store
from orchestrator.config import ConfirmConfig
from orchestrator.ranking import confirmed_hmean, confirmed_sd, ranked
from orchestrator.records import TrialRecord, TrialState
from orchestrator.resources import TrialResources
from orchestrator.space import SearchSpace
from orchestrator.trial import METRIC, TrialFunction
from orchestrator.tuner import ToTheEnd, run_jobs
from orchestrator.twins import Twin, training_part

SEEDS = 2**31  # as many as there are, see train.seed
SEEDS_FOLDER = "seeds"  # in a trial's folder, with a folder for each new seed


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


def leaders(records: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The `top` best finished trials by their first scores, whatever new seeds have said."""
    finished = [r for r in records if r.state is TrialState.FINISHED and r.hmean is not None]
    return ranked([replace(record, confirmed=()) for record in finished])[:top]


def trainings(
    study: optuna.Study, space: SearchSpace, folder: Path, wanted: ConfirmConfig
) -> list[Training]:
    """All trainings that `wanted` asks for, the leaders in turn for each new seed.

    New seeds are those after a trial's own. `folder` is the run's.
    """
    best = leaders(store.read_records(study), wanted.top)
    out = []
    for more in range(1, wanted.seeds + 1):
        for leader in best:
            seed = (space.train_config(leader.params).train.seed + more) % SEEDS
            name = store.folder_of(study, leader.trial)
            place = folder / "trials" / name / SEEDS_FOLDER / str(seed)
            out.append(Training(leader, seed, place))
    return out


def is_confirmed(
    study: optuna.Study, space: SearchSpace, folder: Path, wanted: ConfirmConfig
) -> bool:
    """Whether every training that `wanted` asks for is over."""
    results = store.confirmations(study)
    return all(
        training.seed in results.get(training.leader.trial, {})
        for training in trainings(study, space, folder, wanted)
    )


def spent(study: optuna.Study) -> list[TrialRecord]:
    """What trainings with new seeds took, as records for limits; they stand for no trial."""
    return [
        TrialRecord("", TrialState.FINISHED, epochs=result["epochs"], seconds=result["seconds"])
        for results in store.confirmations(study).values()
        for result in results.values()
    ]


def extra_cost(wanted: ConfirmConfig, epochs: int) -> str:
    """What a confirmation adds to the cost of a search, for the end of that line."""
    if wanted.top == 0:
        return ""
    return (
        f"; confirm.top={wanted.top} confirm.seeds={wanted.seeds} adds up to "
        f"{wanted.top * wanted.seeds} whole trainings of {epochs} epochs"
    )


def run_confirmation(
    *,
    study: optuna.Study,
    space: SearchSpace,
    folder: Path,
    wanted: ConfirmConfig,
    trial: TrialFunction,
    resources: TrialResources,
    say: Callable[[str], None],
    checks: Sequence[Callable[[], None]] = (),
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Train the leaders with new seeds, as far as that is not done, and say what it gave.

    Ray must be running; `folder` is the run's. `checks` are called several times a second and may
    raise to end it, `ended` after each training that is over. A training that fails is recorded
    with its reason and not tried again.
    """
    every = trainings(study, space, folder, wanted)
    if not every:
        say("no trial has finished, so there is none to train again with new seeds")
        return
    searcher = SeedSearcher(study, every, say=say, ended=ended)
    if searcher.left:
        say(
            f"the best {len(every) // wanted.seeds} trials are trained again with {wanted.seeds} "
            f"new seeds each: {searcher.left} trainings of {space.budget.epochs} epochs "
            f"(trials/*/{SEEDS_FOLDER}/*/log.txt)"
        )
        callbacks = [Checking(checks)]
        run_jobs(searcher, ToTheEnd(searcher), folder, trial, resources, callbacks)
    for line in summary(store.read_records(study), every):
        say(line)


def summary(records: Sequence[TrialRecord], every: Sequence[Training]) -> list[str]:
    """A line for each leader, best first: the mean and spread of its new seeds, and the first."""
    names = {training.leader.trial for training in every}
    return [_in_words(record) for record in ranked(records) if record.trial in names]


def _in_words(record: TrialRecord) -> str:
    mean, sd = confirmed_hmean(record), confirmed_sd(record)
    if mean is None:
        return f"trial {record.trial} has no score of a new seed: {record.reason}"
    spread = "" if sd is None else f" ± {sd:.4f}"
    seeds = f"{len(record.confirmed)} new seed{'s' if len(record.confirmed) > 1 else ''}"
    return f"trial {record.trial}: H-mean {mean:.4f}{spread} of {seeds} (first {record.hmean:.4f})"


class SeedSearcher(Searcher):
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
        super().__init__(metric=METRIC, mode="max")
        self._study, self._every, self._say, self._ended = study, every, say, ended
        self._results = store.confirmations(study)
        self._live: dict[str, Training] = {}  # by Tune's trial id
        self._reasons: dict[str, str] = {}

    @property
    def left(self) -> int:
        """How many trainings have no result."""
        return sum(self._result(training) is None for training in self._every)

    def explain_failure(self, trial_id: str, reason: str) -> None:
        """Say why a training fails, before Tune does (it only says that it failed)."""
        self._reasons[trial_id] = reason

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
        """Nothing to keep: the last report has everything."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Keep what the training gave, or why it failed."""
        training, last = self._live.pop(trial_id), result or {}
        reason = _fault(last)
        if error:
            reason = self._reasons.pop(trial_id, "its worker was lost")
        own = _figures(last) | {"reason": reason}
        store.keep_confirmation(self._study, training.leader.trial, training.seed, own)
        self._results.setdefault(training.leader.trial, {})[training.seed] = own
        gave = f"failed: {reason}" if reason else f"H-mean {own['hmean']:.4f}"
        self._say(f"{training.name}: {gave} (first {training.leader.hmean:.4f})")
        self._ended()

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study's database has everything already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore (see `save`)."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is not used; a database cannot be."""
        return {}


class Checking(Callback):
    """Calls `checks` several times a second; they may raise to end Tune's run."""

    def __init__(self, checks: Sequence[Callable[[], None]]) -> None:
        self._checks = checks

    def on_step_begin(self, **_: Any) -> None:  # type: ignore[override]
        for check in self._checks:
            check()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that is not used."""
        return {}


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
    iou = result.get("best_iou_hmean")
    epoch = int(result.get("epoch", 0))
    return {
        "hmean": result.get(METRIC),
        "iou_hmean": iou if iou is not None and math.isfinite(iou) else None,
        "epochs": epoch,
        "best_epoch": int(result.get("best_epoch", epoch)),
        "seconds": float(result.get("seconds", 0.0)),
    }
