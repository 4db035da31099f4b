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
from orchestrator.run.run import Run
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.records import TrialRecord, TrialState, at_rest


@dataclass(frozen=True, eq=False)
class RunFacts:
    """A run as it stands at `when`.

    `records` are ranked, best first, and `rows` are those of the leaderboard in the same order.
    `trials` are the study's, by number. `over` says that no search is working on it now.
    """

    run: Run
    trials: tuple[FrozenTrial, ...]
    records: tuple[TrialRecord, ...]
    rows: tuple[dict[str, Any], ...]
    when: datetime
    over: bool

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.folder

    @property
    def config(self) -> SearchConfig:
        """The search's settings."""
        return self.run.config

    @property
    def space(self) -> SearchSpace:
        """What was searched."""
        return self.run.space

    @cached_property
    def study(self) -> optuna.Study:
        """The study, for what Optuna computes of it."""
        return self.run.study.as_optuna()

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
        return self.run.study.trial(int(record.trial))

    def folder_of(self, record: TrialRecord) -> Path:
        """Where a trial keeps its files."""
        return self.run.trial_folder(int(record.trial))


def gather(run: Run, *, over: bool) -> RunFacts:
    """The facts of a run."""
    records = ranked(at_rest(run.records()) if over else run.records())
    return RunFacts(
        run=run,
        trials=tuple(run.study.trials),
        records=tuple(records),
        rows=tuple(rows(records, run.parameters, run.trade_off)),
        when=datetime.now().astimezone(),
        over=over,
    )
