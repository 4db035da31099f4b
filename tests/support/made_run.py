"""Run folders whose studies tests fill trial by trial, with known figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FixedTrial, TrialState, create_trial

from orchestrator.report_page.facts import RunFacts, gather
from orchestrator.run.as_records import BEST, FOLDER, LATEST, REASON, trial_id
from orchestrator.run.run import Run
from orchestrator.run.study import Study

SPACE = """\
description: a space for tests
fixed: {data.root: nowhere, sweep.thresh: [0.2, 0.3], sweep.box_thresh: [0.4, 0.5, 0.6]}
parameters:
  model.backbone: {choice: [resnet18, resnet34]}
  optimizer.lr: {log_uniform: [1.0e-4, 1.0e-2]}
budget: {trials: 8, epochs: 6, grace_epochs: 2, reduction_factor: 2}
"""
SIZES = {"resnet18": 12.0, "resnet34": 22.0}


@dataclass
class Made:
    """A run folder whose study the tests fill trial by trial."""

    run: Run

    @property
    def folder(self) -> Path:
        return self.run.folder

    @property
    def study(self) -> Study:
        return self.run.study

    def add(
        self,
        state: TrialState,
        hmeans: list[float],
        *,
        backbone: str = "resnet18",
        lr: float = 1e-3,
        pages: list[float] | None = None,
        reason: str | None = None,
        seconds: float = 10.0,
        **attributes: Any,
    ) -> str:
        """A trial that reported these H-means, one an epoch, and its name."""
        number = len(self.study.trials)
        params = {"model.backbone": backbone, "optimizer.lr": lr}
        user: dict[str, Any] = {FOLDER: f"{number:05d}_{backbone}"} | attributes
        if hmeans:
            best = max(hmeans)
            user[LATEST] = {
                "epoch": len(hmeans),
                "best_epoch": hmeans.index(best) + 1,
                "best_hmean": best,
                "seconds": seconds,
                "params_m": SIZES[backbone],
                "checkpoint": f"trials/{number:05d}_{backbone}/checkpoint/best",
            }
            scores = pages if pages is not None else [best, best]
            user[BEST] = {"epoch": hmeans.index(best) + 1, "hmeans": scores}
        if reason is not None:
            user[REASON] = reason
        drawn = FixedTrial(params)
        self.run.space.suggest(drawn)
        self.study.add(
            create_trial(
                state=state,
                value=max(hmeans) if state is TrialState.COMPLETE else None,
                params=params,
                distributions=drawn.distributions,
                intermediate_values=dict(enumerate(hmeans, 1)),
                user_attrs=user,
            )
        )
        return trial_id(number)

    def facts(self, *, over: bool = True) -> RunFacts:
        return gather(self.run, over=over)
