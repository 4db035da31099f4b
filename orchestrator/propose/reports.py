"""What the study keeps of a trial's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.compare.hopeless import LOSS
from orchestrator.compare.trade_offs import figures
from orchestrator.propose.proposals import HMEAN
from orchestrator.run.as_records import BEST, FIGURES, LATEST, LOSSES
from orchestrator.run.study import Study
from orchestrator.trials.pareto import Objectives
from orchestrator.trials.records import METRIC

KEPT_APART = ("page_hmeans", "tuned")  # of a report


def store(study: Study, number: int, report: Mapping[str, Any], objectives: Objectives) -> None:
    """Keep the report of an epoch whose score is a finite number."""
    epoch = int(report["epoch"])
    if report.get("page_hmeans"):
        best = {
            "epoch": int(report.get("best_epoch", epoch)),
            "hmeans": study.in_order(report["page_hmeans"]),
            "tuned": dict(report.get("tuned", {})),
        }
        study.note(number, **{BEST: best})
    latest = {name: value for name, value in report.items() if name not in KEPT_APART}
    study.note(number, **{LATEST: latest})
    if (loss := report.get(LOSS)) is not None:
        losses = study.trial(number).user_attrs.get(LOSSES, {})
        study.note(number, **{LOSSES: losses | {str(epoch): loss}})
    if objectives != HMEAN:
        known = study.trial(number).user_attrs.get(FIGURES, {})
        now = figures(study.record(number), objectives)
        study.note(number, **{FIGURES: known | {str(epoch): now}})
    study.report(number, epoch, float(report[METRIC]))


@dataclass
class Running:
    """How far a job is: the last epoch stored, and the one to train to (None: the last)."""

    epoch: int
    until: int | None


def too_short(running: Running, report: Mapping[str, Any]) -> str | None:
    """Why a job has failed that ended before the epoch that it was to train to; else None."""
    epoch = int(report.get("epoch", 0))
    if running.until is None or epoch >= running.until or report.get("finished"):
        return None
    return f"it ended after epoch {epoch}, though it should train to {running.until}"
