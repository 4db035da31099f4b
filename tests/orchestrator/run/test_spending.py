"""What trials have taken, on a study made by hand."""

from __future__ import annotations

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from orchestrator.run.as_records import LATEST, PAUSED, TWIN
from orchestrator.run.spending import spending, trials_since_best
from orchestrator.run.study import Study, open_study
from orchestrator.store.storage import storage_url


@pytest.fixture
def study(tmp_path) -> Study:
    return open_study(storage_url(tmp_path, None), "run", resume=False)


def add(study: Study, state: TrialState, *scores: float, paused: bool = False, **notes) -> None:
    """A trial that has reported these scores, one an epoch, in 360 seconds."""
    latest = {"epoch": len(scores), "best_hmean": max(scores, default=0.0), "seconds": 360.0}
    lr = len(study.trials) / 100
    number = study.begin({"lr": lr}, {"lr": FloatDistribution(0, 1)}, latest=latest, **notes).number
    for epoch, score in enumerate(scores, 1):
        study.report(number, epoch, score)
    if paused:
        study.note(number, **{PAUSED: len(scores)})
    if state is not TrialState.RUNNING:
        study.end(number, state)


def test_a_trial_that_was_only_scored_has_spent_no_epoch(study):
    for notes in ({}, {TWIN: 0}, {TWIN: 0}):
        add(study, TrialState.COMPLETE, 0.1, 0.2, 0.3, 0.4, **notes)
    study.keep_confirmation("00000", 7, {"epochs": 2, "seconds": 20.0, "reason": "it broke"})
    spent = spending(study)
    assert (spent.epochs, spent.seconds) == (4 + 2, 3 * 360 + 20)  # the GPU was held


def test_trials_since_the_best_by_hand(study):
    assert trials_since_best(study) == 0
    add(study, TrialState.FAIL)
    assert trials_since_best(study) == 0  # none has a score
    add(study, TrialState.COMPLETE, 0.5, 0.9)
    add(study, TrialState.PRUNED, 0.7)
    add(study, TrialState.FAIL)
    add(study, TrialState.RUNNING, 0.8)  # it is not over
    assert trials_since_best(study) == 2
    add(study, TrialState.COMPLETE, 0.5, 0.9)  # as good is not better
    assert trials_since_best(study) == 3


def test_a_pause_after_one_epoch_is_compared_with_the_best_after_one(study):
    add(study, TrialState.COMPLETE, 0.3, 0.6, 0.9)
    add(study, TrialState.RUNNING, 0.4, paused=True)  # further than the best was then
    add(study, TrialState.RUNNING, 0.2, paused=True)
    add(study, TrialState.RUNNING, 0.3, 0.7, paused=True)
    assert trials_since_best(study) == 1
    add(study, TrialState.RUNNING, 0.3, paused=True)
    assert trials_since_best(study) == 2


def test_what_costs_time_alone_is_counted(study):
    add(study, TrialState.RUNNING, 0.3)
    assert study.record(0).seconds == 360.0
    assert spending(study).seconds == 360.0
    assert LATEST in study.trial(0).user_attrs
