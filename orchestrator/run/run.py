"""One search as it is kept: its folder, its settings, what it searches, and what it knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detector.core.errors import InputError
from orchestrator.config.settings import SearchConfig
from orchestrator.run.as_records import FOLDER
from orchestrator.run.endings import again
from orchestrator.run.run_folder import CONFIG, SPACE, stored_search, stored_space, study_name
from orchestrator.run.study import Study, open_study, stored_study
from orchestrator.space.search_space import SearchSpace
from orchestrator.store.storage import DATABASE, open_storage, storage_url
from orchestrator.trials.pareto import Objectives
from orchestrator.trials.records import TrialRecord


@dataclass(frozen=True)
class Run:
    """A run whose study is open."""

    folder: Path
    config: SearchConfig
    space: SearchSpace
    study: Study

    @property
    def parameters(self) -> list[str]:
        """Names of the searched settings."""
        return list(self.space.parameters)

    @property
    def trade_off(self) -> Objectives:
        """What the Pareto front is of."""
        return self.config.search.trade_off()

    @property
    def to_go_on(self) -> str:
        """The command that continues this run."""
        return again(self.config, self.folder)

    def records(self) -> list[TrialRecord]:
        """What is known about every trial, in order of number."""
        return self.study.records()

    def read_again(self) -> None:
        """Know what the storage holds, after an interruption that may have come at any moment."""
        self.study.read(open_storage(storage_url(self.folder, self.config.storage)))

    @property
    def left(self) -> int:
        """How many trials are not over, of those that there will be."""
        unfinished = sum(not trial.state.is_finished() for trial in self.study.trials)
        return unfinished + max(0, self.space.budget.trials - len(self.study.trials))

    def trial_folder(self, number: int) -> Path:
        """Where a trial keeps its files, the same for all processes of this machine."""
        name = self.study.trial(number).user_attrs.get(FOLDER)
        return self.folder.resolve() / "trials" / (name or self.study.record(number).trial)


def open_run(folder: Path, config: SearchConfig, space: SearchSpace) -> Run:
    """The run in `folder`, which is locked; its study is made unless the search is resumed.

    InputError when its storage cannot be used.
    """
    url = storage_url(folder, config.storage)
    study = open_study(url, study_name(folder), resume=config.resume is True)
    return Run(folder, config, space, study)


def stored_run(folder: Path) -> Run:
    """The run in a folder as it is now, to be read only; InputError when there is none."""
    if not (folder / CONFIG).is_file() or not (folder / SPACE).is_file():
        raise InputError(f"run: {folder} is not a run's folder ({CONFIG} or {SPACE} is missing)")
    config = stored_search(folder)
    if config.storage is None and not (folder / DATABASE).is_file():
        raise InputError(f"run: {folder} has no {DATABASE}; its search never started a trial")
    study = stored_study(storage_url(folder, config.storage), study_name(folder))
    return Run(folder, config, stored_space(folder, config, gpu=True), study)
