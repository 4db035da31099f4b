"""The run's memory: an Optuna study whose database says what every trial did.

Nothing else is needed to continue a run. Ray Tune's own snapshots are written in several
files at intervals, so a killed driver leaves them behind the database or torn; they are not
used. A trial that was running when the driver died is RUNNING in the database, and the next
session takes it up again under its number and in its folder.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from json import JSONDecodeError
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy.exc import SQLAlchemyError

from detector.errors import InputError
from orchestrator.space.nested import PREFIX
from orchestrator.store.storage import open_storage, without_password
from orchestrator.store.storage import storage_url as storage_url  # a study's users need both
from orchestrator.trials.records import METRIC, TrialRecord, TrialState

LATEST = "latest"  # user attribute: the last report
BEST = "best_pages"  # user attribute: the best epoch, its page H-means and chosen settings
REASON = "reason"  # user attribute: why a trial failed
PAUSED = "paused"  # user attribute: the epoch at which a trial was paused
FOLDER = "folder"  # user attribute: name of the trial's folder below trials/
LOST = "lost_workers"  # user attribute: how often its worker was lost, and it went on
TWIN = "same_weights_as"  # user attribute: the number of the trial whose weights this one has
CONFIRMED = "confirmed"  # study attribute confirmed/TRIAL/SEED, see `keep_confirmation`

STATES = {
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.COMPLETE: TrialState.FINISHED,
    OptunaState.PRUNED: TrialState.STOPPED,
    OptunaState.FAIL: TrialState.FAILED,
}


def open_study(url: str, name: str, *, resume: bool) -> optuna.Study:
    """The study called `name` in the storage at `url` (see `storage_url`).

    It is made new unless `resume`; InputError when that cannot be.
    """
    try:
        with _explained(url):
            return optuna.create_study(
                storage=open_storage(url),
                study_name=name,
                direction="maximize",
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=resume,
            )
    except DuplicatedStudyError:
        raise InputError(
            f"storage: {without_password(url)} holds a study called {name!r} already; "
            "choose another name, or continue it with resume=true"
        ) from None


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Optuna keeps quiet in the block, and a storage that cannot be used is one InputError."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, ImportError, OSError, JSONDecodeError) as error:
        line = str(error.__cause__ or error).splitlines()[0]
        shown = without_password(url)
        raise InputError(f"storage: {shown} cannot be used: {line}{_remedy(url, error)}") from None


def stored_study(url: str, name: str) -> optuna.Study:
    """The study called `name` in the storage at `url`; InputError when there is none."""
    there = study_names(url)
    if name not in there:
        held = f"it holds {', '.join(there)}" if there else "it is empty"
        raise InputError(
            f"storage: {without_password(url)} holds no study called {name!r} ({held}); "
            "its search never began, or this is not the run's storage"
        )
    return open_study(url, name, resume=True)


def study_names(url: str) -> list[str]:
    """The names of all studies in a storage; InputError when it cannot be used."""
    with _explained(url):
        return optuna.get_all_study_names(open_storage(url))


def _remedy(url: str, error: Exception) -> str:
    if not url.startswith("postgresql"):
        return ""
    if isinstance(error, ImportError):
        return "; install the driver with pip install -e '.[postgres]' and write +psycopg"
    return "; a password that is not in the URL comes from PGPASSWORD or ~/.pgpass"


def sampler(seed: int, number: int, *, trials: int) -> TPESampler:
    """The sampler of trial `number`: its draws depend only on seed, number and history.

    One seed for a whole session would make a resumed session repeat the points that the
    first one began with. Random points come first, fewer of them in a short search.
    """
    startup = min(10, max(3, trials // 4))
    return TPESampler(
        seed=seed_of(seed, number),
        n_startup_trials=startup,
        multivariate=True,
        constant_liar=True,
    )


def seed_of(seed: int, number: int) -> int:
    """A seed for the draws of trial `number` alone."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def enqueue(study: optuna.Study, points: Sequence[Mapping[str, Any]]) -> None:
    """Queue known-good points, each once however often this is called."""
    for point in points:
        study.enqueue_trial(dict(point), skip_if_exists=True)


def proposed(study: optuna.Study) -> list[FrozenTrial]:
    """All trials but those that are only queued, oldest first."""
    return [t for t in study.get_trials(deepcopy=False) if t.state is not OptunaState.WAITING]


def unfinished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were proposed and did not end: running, paused or cut off; oldest first."""
    return study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,))


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are over: finished, stopped or failed."""
    return study.get_trials(deepcopy=False, states=tuple(s for s in OptunaState if s.is_finished()))


def read_records(study: optuna.Study) -> list[TrialRecord]:
    """What is known about every proposed trial, in order of number."""
    found = confirmations(study)
    records = [to_record(t) for t in study.get_trials(deepcopy=False) if t.state in STATES]
    return [_with_seeds(r, found[r.trial]) if r.trial in found else r for r in records]


def spending(study: optuna.Study) -> list[TrialRecord]:
    """All records as limits count them: a trial that was only scored has trained no epoch."""
    trials = study.get_trials(deepcopy=False)
    scored = {trial_id(trial.number) for trial in trials if TWIN in trial.user_attrs}
    return [replace(r, epochs=0) if r.trial in scored else r for r in read_records(study)]


def keep_confirmation(
    study: optuna.Study, trial: str, seed: int, result: Mapping[str, Any]
) -> None:
    """Store what a training of `trial` with another seed gave.

    That is `hmean`, `iou_hmean`, `epochs`, `best_epoch`, `seconds` and `reason`, which says why it
    failed and is None otherwise. It belongs to the study, as Optuna closes trials that are over.
    """
    study.set_user_attr(f"{CONFIRMED}/{trial}/{seed}", dict(result))


def confirmations(study: optuna.Study) -> dict[str, dict[int, dict[str, Any]]]:
    """All that `keep_confirmation` has stored, by trial and seed, in the order of seeds."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for key, result in study.user_attrs.items():
        kind, *names = key.split("/")
        if kind == CONFIRMED:
            found.setdefault(names[0], {})[int(names[1])] = result
    return {trial: dict(sorted(results.items())) for trial, results in found.items()}


def trial_id(number: int) -> str:
    """The name of a trial in tables, files and folders."""
    return f"{number:05d}"


def folder_of(study: optuna.Study, trial: str) -> str:
    """The name of a trial's folder below trials/, by the trial's own name."""
    stored = study.get_trials(deepcopy=False)[int(trial)]
    return str(stored.user_attrs.get(FOLDER, trial))


def to_record(trial: FrozenTrial) -> TrialRecord:
    """A trial of the study as plain data."""
    latest: dict[str, Any] = trial.user_attrs.get(LATEST, {})
    best_epoch = latest.get("best_epoch")
    best = trial.user_attrs.get(BEST, {})
    # A report lost with its driver leaves the pages of an older best epoch behind.
    current = bool(best) and best["epoch"] == best_epoch
    epochs = int(latest.get("epoch", 0))
    state = STATES[trial.state]
    if state is TrialState.RUNNING and trial.user_attrs.get(PAUSED) == epochs:
        state = TrialState.PAUSED
    return TrialRecord(
        trial=trial_id(trial.number),
        state=state,
        params=dict(trial.params),
        hmean=_figure(latest, METRIC),
        precision=_figure(latest, "best_precision"),
        recall=_figure(latest, "best_recall"),
        hmean_pooled=_figure(latest, "best_hmean_pooled"),
        iou_hmean=_figure(latest, "best_iou_hmean"),
        tuned_hmean=_figure(latest, "best_tuned_hmean"),
        crossfit_hmean=_figure(latest, "best_crossfit_hmean"),
        tuned=_tuned(latest) | _dotted(best.get("tuned", {}) if current else {}),
        epochs=epochs,
        best_epoch=None if best_epoch is None else int(best_epoch),
        seconds=float(latest.get("seconds", 0.0)),
        params_m=_figure(latest, "params_m"),
        latency_ms=_figure(latest, "latency_ms"),
        checkpoint=latest.get("checkpoint"),
        page_hmeans=tuple(best["hmeans"]) if current else None,
        # A driver that dies between the reason and the end leaves a trial that may yet succeed.
        reason=trial.user_attrs.get(REASON) if state is TrialState.FAILED else None,
    )


def _with_seeds(record: TrialRecord, results: Mapping[int, Mapping[str, Any]]) -> TrialRecord:
    """The record with what other seeds gave, and why some gave nothing."""
    scores = tuple(float(r["hmean"]) for r in results.values() if r["reason"] is None)
    failed = [f"seed {seed} failed: {r['reason']}" for seed, r in results.items() if r["reason"]]
    reasons = [record.reason, *failed] if record.reason else failed
    return replace(record, confirmed=scores, reason="; ".join(reasons) or None)


def _tuned(values: Mapping[str, Any]) -> dict[str, Any]:
    """The best post-processing settings of the best epoch, by dotted name."""
    prefix = "best_tuned_"
    return _dotted(
        {
            key.removeprefix(prefix): value
            for key, value in values.items()
            if key.startswith(prefix) and key != f"{prefix}hmean"
        }
    )


def _dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{PREFIX}{key}": value for key, value in settings.items()}


def _figure(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    return float(value) if value is not None and math.isfinite(value) else None
