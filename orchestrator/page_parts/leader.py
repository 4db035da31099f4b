"""The trial of a run whose settings are trained again."""

from __future__ import annotations

from detector.core.errors import InputError
from orchestrator.results.ranking import ranked
from orchestrator.run.as_records import TWIN
from orchestrator.run.run import Run
from orchestrator.trials.records import TrialRecord, TrialState


def leader_of(run: Run) -> TrialRecord:
    """The best trial that was trained to the end; InputError without one."""
    records = run.records()
    finished = [r for r in ranked(records) if r.state is TrialState.FINISHED]
    if not finished:
        raise InputError(
            f"run: {run.folder} has no trial that was trained to the end, of {len(records)}; let "
            f"the search go on first ({run.to_go_on})"
        )
    return finished[0]


def seconds_of(run: Run, leader: TrialRecord) -> float:
    """How long the training took whose weights it has."""
    number = int(leader.trial)
    return run.study.record(run.study.trial(number).user_attrs.get(TWIN, number)).seconds
