"""A trial of an Optuna study, with the notes that this project keeps with it, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.space.nested import PREFIX
from orchestrator.trials.records import METRIC, TrialRecord, TrialState

# User attributes of a trial.
LATEST = "latest"  # the last report
BEST = "best_pages"  # the best epoch, its page H-means and chosen settings
FIGURES = "figures"  # with several objectives, what each was at each reported epoch
REASON = "reason"  # why a trial failed
LOSSES = "losses"  # the training loss by reported epoch
HOPELESS = "hopeless"  # why a trial was given up
PAUSED = "paused"  # the epoch at which a trial was paused
FOLDER = "folder"  # name of the trial's folder below trials/
ALONE = "alone"  # why a trial is tried again without others beside it
LOST = "lost_workers"  # how often its worker was lost, and it went on
TWIN = "same_weights_as"  # the number of the trial whose weights this one has

STATES = {
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.COMPLETE: TrialState.FINISHED,
    OptunaState.PRUNED: TrialState.STOPPED,
    OptunaState.FAIL: TrialState.FAILED,
}
REASONS = {TrialState.FAILED: REASON, TrialState.STOPPED: HOPELESS}


def trial_id(number: int) -> str:
    """The name of a trial in tables, files and folders."""
    return f"{number:05d}"


def folder_name(number: int, params: Mapping[str, Any]) -> str:
    """A short name that sorts by number and says what the trial tries: `00003_resnet18`."""
    for value in params.values():
        if isinstance(value, str):
            tag = "".join(c if c.isalnum() or c in "._-" else "-" for c in value)
            return f"{trial_id(number)}_{tag[:40]}"
    return trial_id(number)


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
        page_hmeans=_of_pages(best["hmeans"]) if current else None,
        # A driver that dies between the reason and the end leaves a trial that may yet succeed.
        reason=trial.user_attrs.get(REASONS[state]) if state in REASONS else None,
    )


def confirmed(record: TrialRecord, results: Mapping[int, Mapping[str, Any]]) -> TrialRecord:
    """The record with what other seeds gave, and why some gave nothing."""
    scores = tuple(float(r["hmean"]) for r in results.values() if r["reason"] is None)
    failed = [f"seed {seed} failed: {r['reason']}" for seed, r in results.items() if r["reason"]]
    reasons = [record.reason, *failed] if record.reason else failed
    return replace(record, confirmed=scores, reason="; ".join(reasons) or None)


def _of_pages(scores: list[float | None]) -> tuple[float, ...]:
    """Scores in the order of the study's pages, NaN for a page that this trial has none of."""
    return tuple(math.nan if score is None else score for score in scores)


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
