"""A run read from its folder, as it is now."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from made_run import Made
from optuna.trial import TrialState

from orchestrator.config.settings import SearchConfig
from orchestrator.run import run_folder
from orchestrator.run.run import stored_run
from orchestrator.run.run_folder import CONFIG


@pytest.mark.parametrize(
    ("trials", "kept"),
    [(5, 5), (20, 20), (None, 8)],  # 8 are those of the space
)
def test_a_run_has_as_many_trials_as_it_has_grown_or_shrunk_to(
    make_run: Callable[..., Made], trials: int | None, kept: int
):
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    made.add(TrialState.COMPLETE, [0.9])
    if trials is not None:
        run_folder.remember(made.folder, SearchConfig(space="mine"), trials=trials)
    run = stored_run(made.folder)
    assert run.space.budget.trials == kept
    assert len(run.records()) == 1
