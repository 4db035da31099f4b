"""All that the sections draw on, read once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from orchestrator.config.settings import SearchConfig
from orchestrator.results.ranking import best, ranked, rows
from orchestrator.run import study as store
from orchestrator.run.study import STATES
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.records import TrialRecord, TrialState


@dataclass(frozen=True, eq=False)
class RunFacts:
    """A run as it stands at `when`.

    `records` are ranked, best first, and `rows` are those of the leaderboard in the same order.
    `trials` are the study's, by number. `over` says that no search is working on it now.
    """

    folder: Path
    config: SearchConfig
    space: SearchSpace
    study: optuna.Study
    trials: tuple[FrozenTrial, ...]
    records: tuple[TrialRecord, ...]
    rows: tuple[dict[str, Any], ...]
    when: datetime
    over: bool

    @cached_property
    def best(self) -> TrialRecord | None:
        """The trial to ship; None while none has a score."""
        return best(self.records)

    def of(self, state: TrialState) -> list[TrialRecord]:
        """The trials in a state, best first."""
        return [record for record in self.records if record.state is state]

    @cached_property
    def leaders(self) -> list[TrialRecord]:
        """The trials with a score: the one to ship, then the others as they are ranked."""
        scored = [record for record in self.records if record.hmean is not None]
        return sorted(scored, key=lambda record: record is not self.best)

    def row_of(self, record: TrialRecord) -> dict[str, Any]:
        """The leaderboard's row of a trial."""
        return next(row for row in self.rows if row["trial"] == record.trial)

    def trial_of(self, record: TrialRecord) -> FrozenTrial:
        """The study's trial behind a record."""
        return next(trial for trial in self.trials if store.trial_id(trial.number) == record.trial)

    def folder_of(self, record: TrialRecord) -> Path:
        """Where a trial keeps its files."""
        name = self.trial_of(record).user_attrs.get(store.FOLDER, record.trial)
        return self.folder / "trials" / str(name)


def gather(
    study: optuna.Study, space: SearchSpace, folder: Path, config: SearchConfig, *, over: bool
) -> RunFacts:
    """The facts of the run in `folder`."""
    records = ranked(store.read_records(study))
    return RunFacts(
        folder=folder,
        config=config,
        space=space,
        study=study,
        trials=tuple(t for t in study.get_trials(deepcopy=False) if t.state in STATES),
        records=tuple(records),
        rows=tuple(rows(records, list(space.parameters), config.search.trade_off())),
        when=datetime.now().astimezone(),
        over=over,
    )
