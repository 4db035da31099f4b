"""The run's memory: an Optuna study whose database says what every trial did.

Nothing else is needed to continue a run. Ray Tune's own snapshots are written in several
files at intervals, so a killed driver leaves them behind the database or torn; they are not
used. A trial that was running when the driver died is RUNNING in the database, and the next
session takes it up again under its number and in its folder.

The database is read once. From then on the trials are in memory, and each change is in the
database before it is seen here: reading hundreds of paused trials again at each report takes
seconds. That needs a single writer, which the lock of the run folder and the mark in a bucket see
to.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from json import JSONDecodeError
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState
from sqlalchemy.exc import SQLAlchemyError

from detector.core.errors import InputError
from orchestrator.run.as_records import confirmed, to_record
from orchestrator.store.storage import open_storage, without_password
from orchestrator.trials.records import TrialRecord

# Attributes of a study.
CONFIRMED = "confirmed"  # confirmed/TRIAL/SEED, see `keep_confirmation`
FORECAST = "forecast"  # see `keep_forecast`
DELETED = "weights_deleted"  # names of trials, see `delete_weights`
PAGES = "pages"  # names of the validation pages, see `in_order`


class Study:
    """The trials of a run. `trials` are those that were proposed, by number; do not change them.

    What a storage raises passes through, and nothing is changed here then.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.name = name
        self.read(storage)

    def read(self, storage: BaseStorage) -> None:
        """Forget what is in memory, and know what is in `storage`, which has a study of the name.

        For when a signal came between a change there and the same change here.
        """
        self._storage = storage
        self._id = storage.get_study_id_from_name(self.name)
        self._attributes = dict(storage.get_study_user_attrs(self._id))
        known = storage.get_all_trials(self._id)
        self._created = len(known)
        # Earlier versions queued known-good points there; now they come from the space.
        proposed = [trial for trial in known if trial.state is not OptunaState.WAITING]
        self._trials = {trial.number: trial for trial in proposed}
        self._records: dict[int, TrialRecord] = {}

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return list(self._trials.values())

    @property
    def next_number(self) -> int:
        """What the next trial will be called."""
        return self._created

    def trial(self, number: int) -> FrozenTrial:
        """A trial by its number."""
        return self._trials[number]

    def begin(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        **notes: Any,
    ) -> FrozenTrial:
        """A new trial that is RUNNING, with all its settings and notes or not there at all."""
        trial = create_trial(
            state=OptunaState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=notes,
        )
        trial.datetime_start = datetime.now()
        return self.add(trial)

    def add(self, trial: FrozenTrial) -> FrozenTrial:
        """Add a trial as it is, under the next number."""
        trial._trial_id = self._storage.create_new_trial(self._id, trial)
        trial.number = self._storage.get_trial_number_from_id(trial._trial_id)
        self._trials[trial.number] = trial
        self._created = trial.number + 1
        return trial

    def note(self, number: int, **notes: Any) -> None:
        """Keep something about a trial that is not over."""
        trial = self._trials[number]
        for key, value in notes.items():
            self._storage.set_trial_user_attr(trial._trial_id, key, value)
            trial.user_attrs[key] = value
        self._records.pop(number, None)

    def report(self, number: int, epoch: int, value: float) -> None:
        """Keep a trial's score at an epoch."""
        trial = self._trials[number]
        self._storage.set_trial_intermediate_value(trial._trial_id, epoch, value)
        trial.intermediate_values[epoch] = value
        self._records.pop(number, None)

    def end(self, number: int, state: OptunaState) -> None:
        """Say how a trial ended; its value is the last that it reported."""
        trial = self._trials[number]
        scores = trial.intermediate_values if state is not OptunaState.FAIL else {}
        last = [scores[max(scores)]] if scores else None
        self._storage.set_trial_state_values(trial._trial_id, state, last)
        trial.state, trial.values, trial.datetime_complete = state, last, datetime.now()
        self._records.pop(number, None)

    def records(self) -> list[TrialRecord]:
        """What is known about every trial, in order of number."""
        return [self.record(number) for number in self._trials]

    def record(self, number: int) -> TrialRecord:
        """What is known about a trial."""
        if number not in self._records:
            record = to_record(self._trials[number])
            if record.trial in self._attributes.get(DELETED, ()):
                record = replace(record, checkpoint=None)
            seeds = self.confirmations().get(record.trial)
            self._records[number] = record if seeds is None else confirmed(record, seeds)
        return self._records[number]

    def in_order(self, page_hmeans: Mapping[str, float]) -> list[float | None]:
        """Page scores in the order of the study's pages, None for one that is not among them.

        So that two trials are compared on the same pages, whatever each could not read. A page
        that no trial had before is added to the study's.
        """
        pages = self._attributes.get(PAGES, [])
        new = [name for name in page_hmeans if name not in set(pages)]
        if new:
            self._set(PAGES, [*pages, *new])
        return [page_hmeans.get(name) for name in (*pages, *new)]

    def page_scores(self, number: int) -> dict[str, float]:
        """The H-means of a trial's best epoch by the name of the page; empty without any."""
        scores = self.record(number).page_hmeans or ()
        named = zip(self._attributes.get(PAGES, []), scores, strict=False)
        return {page: score for page, score in named if math.isfinite(score)}

    def keep_confirmation(self, trial: str, seed: int, result: Mapping[str, Any]) -> None:
        """Store what a training of `trial` with another seed gave.

        That is `hmean`, `iou_hmean`, `epochs`, `best_epoch`, `seconds` and `reason`, which says
        why it failed and is None otherwise. It belongs to the study, as Optuna closes trials that
        are over.
        """
        self._set(f"{CONFIRMED}/{trial}/{seed}", dict(result))
        self._records.pop(int(trial), None)

    def confirmations(self) -> dict[str, dict[int, dict[str, Any]]]:
        """All that `keep_confirmation` has stored, by trial and seed, in the order of seeds."""
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for key, result in self._attributes.items():
            kind, *names = key.split("/")
            if kind == CONFIRMED:
                found.setdefault(names[0], {})[int(names[1])] = result
        return {trial: dict(sorted(results.items())) for trial, results in found.items()}

    def delete_weights(self, trials: Sequence[str]) -> None:
        """Say that the weights of these trials, which are over, are to be there no more."""
        if trials:
            self._set(DELETED, [*self._attributes.get(DELETED, []), *trials])
        for trial in trials:
            self._records.pop(int(trial), None)

    @property
    def weights_deleted(self) -> list[str]:
        """The trials whose weights are not kept, by name."""
        return list(self._attributes.get(DELETED, []))

    def keep_forecast(self, expected: Mapping[str, Any], when: datetime) -> None:
        """Store what the search is expected to do, for reports of another process too."""
        self._set(FORECAST, {"when": when.isoformat(timespec="seconds"), **expected})

    @property
    def forecast(self) -> dict[str, Any] | None:
        """The last forecast, with `when` it was made; None before the first."""
        return self._attributes.get(FORECAST)

    def _set(self, key: str, value: Any) -> None:
        self._storage.set_study_user_attr(self._id, key, value)
        self._attributes[key] = value

    def copy_to(self, url: str, changed: Callable[[Any], Any]) -> None:
        """Write the study, its notes `changed`, to a new storage at `url` (see `storage_url`)."""
        with _explained(url):
            storage = open_storage(url)
            copy = storage.create_new_study([StudyDirection.MAXIMIZE], self.name)
            for key, value in changed(self._attributes).items():
                storage.set_study_user_attr(copy, key, value)
            for trial in self._storage.get_all_trials(self._id):
                trial.user_attrs = changed(trial.user_attrs)
                storage.create_new_trial(copy, trial)

    def as_optuna(self) -> optuna.Study:
        """A copy in memory, for what Optuna itself computes and draws."""
        copy = optuna.create_study(direction="maximize", study_name=self.name)
        copy.add_trials(self.trials)
        return copy


def open_study(url: str, name: str, *, resume: bool) -> Study:
    """The study called `name` in the storage at `url` (see `storage_url`).

    It is made new unless `resume`; InputError when that cannot be.
    """
    with _explained(url):
        storage = open_storage(url)
        try:
            storage.create_new_study([StudyDirection.MAXIMIZE], name)
        except DuplicatedStudyError:
            if not resume:
                raise InputError(
                    f"storage: {without_password(url)} holds a study called {name!r} already; "
                    "choose another name, or continue it with resume=true"
                ) from None
        return Study(storage, name)


def stored_study(url: str, name: str) -> Study:
    """The study called `name` in the storage at `url`; InputError when there is none."""
    there = study_names(url)
    if name not in there:
        held = f"it holds {', '.join(there)}" if there else "it is empty"
        raise InputError(
            f"storage: {without_password(url)} holds no study called {name!r} ({held}); "
            "its search never began, or this is not the run's storage"
        )
    with _explained(url):
        return Study(open_storage(url), name)


def study_names(url: str) -> list[str]:
    """The names of all studies in a storage; InputError when it cannot be used."""
    with _explained(url):
        return [study.study_name for study in open_storage(url).get_all_studies()]


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


def _remedy(url: str, error: Exception) -> str:
    if not url.startswith("postgresql"):
        return ""
    if isinstance(error, ImportError):
        return "; install the driver with pip install -e '.[postgres]' and write +psycopg"
    return "; a password that is not in the URL comes from PGPASSWORD or ~/.pgpass"
