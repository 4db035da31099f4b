"""A run of this project whose trials get the trainings of a table, with a study in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from replay import Table
from stand_in import StandIns

from orchestrator.config.settings import SearchConfig
from orchestrator.run.run import Run
from orchestrator.run.study import Study
from orchestrator.space.search_space import SearchSpace


class ToldStudy(Study):
    """A study whose trials have the settings of the trainings that they get."""

    def __init__(self, storage: BaseStorage, name: str, stand_ins: StandIns) -> None:
        super().__init__(storage, name)
        self._stand_ins = stand_ins

    def begin(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        **notes: Any,
    ) -> FrozenTrial:
        """A new trial at the point that is trained."""
        return super().begin(self._stand_ins.of(params), distributions, **notes)


def run_over(table: Table, folder: Path, space: SearchSpace, config: SearchConfig) -> Run:
    """A run that has proposed nothing yet. A database would be told the same, and take longer."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection.MAXIMIZE], space.name)
    return Run(folder, config, space, ToldStudy(storage, space.name, table.stand_ins()))
