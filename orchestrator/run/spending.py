"""What the trials of a run have taken so far, and how long none has been better."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from orchestrator.config.limits import Spending
from orchestrator.run.as_records import TWIN
from orchestrator.run.study import Study
from orchestrator.trials.records import TrialState

_TRIED = (TrialState.FINISHED, TrialState.STOPPED, TrialState.PAUSED, TrialState.FAILED)


def spending(study: Study) -> Spending:
    """What limits are compared with; a trial that was only scored has trained no epoch."""
    confirmations = [r for seeds in study.confirmations().values() for r in seeds.values()]
    records = study.records()
    trained = [
        record.epochs
        for record, trial in zip(records, study.trials, strict=True)
        if TWIN not in trial.user_attrs
    ]
    return Spending(
        epochs=sum(trained) + sum(result["epochs"] for result in confirmations),
        seconds=sum(record.seconds for record in records)
        + sum(result["seconds"] for result in confirmations),
        since_best=trials_since_best(study),
    )


def trials_since_best(study: Study) -> int:
    """How many trials with a higher number than the best one's were tried and are no better.

    One that is paused is compared with the best at the epoch where it is: it may be on its way to
    be better, and counts only if it is not. 0 without a score.
    """
    scored = [trial for trial in study.trials if trial.intermediate_values]
    if not scored:
        return 0
    best = max(scored, key=lambda trial: (_at(trial), -trial.number))
    return sum(
        trial.number > best.number
        and record.state in _TRIED
        and (record.state is not TrialState.PAUSED or _at(trial) <= _at(best, upto=trial))
        for record, trial in zip(study.records(), study.trials, strict=True)
    )


def _at(trial: FrozenTrial, upto: FrozenTrial | None = None) -> float:
    """The best H-mean that a trial has reported, up to the last epoch of another if given."""
    scores = trial.intermediate_values
    last = max((scores if upto is None else upto.intermediate_values), default=0)
    before = [value for epoch, value in scores.items() if epoch <= last]
    return max(before) if before else scores[min(scores)]
