"""What a study says of its trials; whole searches are in tests/orchestrator/test_search.py."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState, create_trial

from detector.errors import InputError
from orchestrator.config.limits import Limits
from orchestrator.run import study as store


@pytest.fixture
def study(tmp_path):
    return store.open_study(store.storage_url(tmp_path, None), "run", resume=False)


def test_a_trial_that_was_only_scored_has_spent_no_epoch(study):
    for attributes in ({}, {store.TWIN: 0}, {store.TWIN: 0}):
        latest = {"epoch": 4, "best_hmean": 0.5, "seconds": 360.0}
        trial = create_trial(
            state=TrialState.COMPLETE, value=0.5, user_attrs={store.LATEST: latest} | attributes
        )
        study.add_trial(trial)
    assert [record.epochs for record in store.read_records(study)] == [4, 4, 4]
    spent = store.spending(study)
    assert [record.epochs for record in spent] == [4, 0, 0]
    assert Limits(total_epochs=5).spent(spent, gpus=1) is None
    assert Limits(total_epochs=4).spent(spent, gpus=1) == "budget.total_epochs=4 are trained"
    assert Limits(gpu_hours=0.3).spent(spent, gpus=1) == "budget.gpu_hours=0.3 are used"  # held


def test_a_study_is_not_made_by_looking_for_it(tmp_path):
    url = store.storage_url(tmp_path, None)
    with pytest.raises(InputError, match=r"holds no study called 'run' \(it is empty\)"):
        store.stored_study(url, "run")
    assert store.study_names(url) == []
    store.open_study(url, "run", resume=False)
    assert store.stored_study(url, "run").study_name == "run"
