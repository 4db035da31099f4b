"""Small runs with known figures, and a browser to open their pages with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial, TrialState, create_trial

from orchestrator.config.settings import SearchConfig
from orchestrator.report_page.facts import RunFacts, gather
from orchestrator.run.as_records import BEST, FOLDER, LATEST, REASON, trial_id
from orchestrator.run.run import Run
from orchestrator.run.study import Study, open_study
from orchestrator.space.search_space import load_space
from orchestrator.store.storage import storage_url

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


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Made]:
    """`make_run(name=..., **search settings)`: an empty run."""

    def make(name: str = "run", space: str = SPACE, **settings: Any) -> Made:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "space.yaml").write_text(space)
        loaded = load_space(str(folder / "space.yaml"), gpu=True)
        study = open_study(storage_url(folder, None), name, resume=False)
        config = SearchConfig.model_validate({"space": "mine", "name": name} | settings)
        return Made(Run(folder, config, loaded, study))

    return make


@pytest.fixture
def usual(make_run: Callable[..., Made]) -> Made:
    """Two finished trials that no test can tell apart, a worse one, one stopped, one failed."""
    run = make_run()
    rising = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9]
    good = [0.9 + (-1) ** i * 0.01 for i in range(10)]
    same = [0.899 + (-1) ** (i // 2) * 0.01 for i in range(10)]
    bad = [0.6 + 0.001 * i for i in range(10)]
    run.add(TrialState.COMPLETE, rising, backbone="resnet34", lr=1e-3, pages=good)
    run.add(TrialState.COMPLETE, [*rising[:5], 0.899], lr=2e-3, pages=same)
    run.add(TrialState.COMPLETE, [0.1, 0.2, 0.3, 0.4, 0.6, 0.5], lr=9e-3, pages=bad)
    run.add(TrialState.PRUNED, [0.2, 0.3], lr=5e-3)
    run.add(TrialState.FAIL, [0.1], lr=8e-3, reason="out of memory")
    return run


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from chromium import chromium, find_chromium

    if find_chromium() is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
