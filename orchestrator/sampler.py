"""Optuna behind Ray Tune: proposes trials and tells the study honestly how each one ended.

Ray's own OptunaSearch tells Optuna that a trial stopped early is complete, leaves a trial
without a finite score running for ever, and cannot be restored after its driver was killed.
Here the study is the only state: every call writes through to its database.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from orchestrator import study as store
from orchestrator.space import SearchSpace
from orchestrator.study import FOLDER, LATEST, PAGES, REASON
from orchestrator.trial import METRIC

NOT_METRICS = ("params", "config", "page_hmeans")


class StudySearcher(Searcher):
    """Proposes trials until the study holds `trials` of them.

    Trials that an earlier session left unfinished are proposed first, with their number,
    settings and folder, so they go on from their last checkpoint.
    """

    def __init__(
        self, study: optuna.Study, space: SearchSpace, folder: Path, *, seed: int, trials: int
    ) -> None:
        super().__init__(metric=METRIC, mode="max")
        self._study, self._space, self._folder = study, space, folder
        self._seed, self._trials = seed, trials
        self._waiting = deque(store.unfinished(study))
        self._live: dict[str, Trial] = {}
        self._epochs: dict[str, int] = {}  # the last one stored, by Tune's trial id
        self._reasons: dict[str, str] = {}

    @property
    def remaining(self) -> int:
        """Trials still to be run, the unfinished ones of an earlier session included."""
        return max(self._trials - len(store.ended(self._study)), len(self._waiting))

    def explain_failure(self, trial_id: str, reason: str) -> None:
        """Say why a trial fails, before Tune does (it only says that it failed)."""
        self._reasons[trial_id] = reason

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """The next trial as Tune's config: its number, folder and settings."""
        trial, epoch = self._next_trial()
        if trial is None:
            return Searcher.FINISHED
        params = self._space.suggest(trial)
        name = trial.user_attrs.get(FOLDER)
        if name is None:
            name = folder_name(trial.number, params)
            trial.set_user_attr(FOLDER, name)
        self._live[trial_id], self._epochs[trial_id] = trial, epoch
        folder = self._folder / "trials" / name
        return {"number": trial.number, "folder": str(folder), "params": params}

    def _next_trial(self) -> tuple[Trial | None, int]:
        """The next trial and its last stored epoch; None when all have been proposed."""
        if self._waiting:
            frozen = self._waiting.popleft()
            self._seed_sampler(frozen.number)
            # suggest() keeps what this trial was given before, and draws what the kill
            # of the former driver cut off.
            return Trial(self._study, frozen._trial_id), frozen.last_step or 0
        proposed = len(store.ended(self._study)) + len(store.unfinished(self._study))
        if proposed >= self._trials:
            return None, 0
        self._seed_sampler(proposed)
        return self._study.ask(), 0

    def _seed_sampler(self, number: int) -> None:
        self._study.sampler = store.sampler(self._seed, number, trials=self._trials)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Store a report, or end the trial when it reports its own failure."""
        if trial_id not in self._live:
            return
        if result.get("error"):
            self._fail(trial_id, str(result["error"]))
        else:
            self._store(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how the trial ended: COMPLETE, PRUNED or FAIL."""
        trial = self._live.get(trial_id)
        if trial is None:  # it failed by its own report
            return
        result = result or {}
        value = result.get(METRIC)
        if error:
            self._fail(trial_id, self._reasons.pop(trial_id, "its worker was lost"))
        elif result.get("error"):
            self._fail(trial_id, str(result["error"]))
        elif value is None:
            self._fail(trial_id, "it ended without a score")
        elif not math.isfinite(value):
            self._fail(trial_id, f"its score is not a finite number: {METRIC} is {value}")
        else:
            self._store(trial_id, result)
            if result.get("finished"):
                self._study.tell(trial, float(value))
            else:
                self._study.tell(trial, state=OptunaState.PRUNED)
            del self._live[trial_id]

    def _store(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keep a report; one that Tune or a restarted worker repeats changes nothing."""
        epoch, value = int(result.get("epoch", 0)), result.get(METRIC)
        if value is None or not math.isfinite(value) or epoch <= self._epochs[trial_id]:
            return
        trial = self._live[trial_id]
        self._epochs[trial_id] = epoch
        if result.get("page_hmeans"):
            trial.set_user_attr(PAGES, {"epoch": epoch, "hmeans": list(result["page_hmeans"])})
        trial.set_user_attr(LATEST, _own_metrics(result))
        trial.report(float(value), epoch)

    def _fail(self, trial_id: str, reason: str) -> None:
        trial = self._live.pop(trial_id)
        trial.set_user_attr(REASON, reason)
        self._study.tell(trial, state=OptunaState.FAIL)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study's database has everything already."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore (see `save`)."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that is not used; a database cannot be."""
        return {}


def folder_name(number: int, params: Mapping[str, Any]) -> str:
    """A short name that sorts by number and says what the trial tries: `00003_resnet18`."""
    for value in params.values():
        if isinstance(value, str):
            tag = "".join(c if c.isalnum() or c in "._-" else "-" for c in value)
            return f"{store.trial_id(number)}_{tag[:40]}"
    return store.trial_id(number)


def _own_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """The report without what Tune adds to it (times, host names, the config)."""
    names = result.get("reported") or result.keys()
    return {k: result[k] for k in names if k in result and k not in NOT_METRICS}
