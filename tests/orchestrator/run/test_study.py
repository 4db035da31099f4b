"""What a study says of its trials; whole searches are in tests/orchestrator/test_search.py."""

from __future__ import annotations

import math

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from detector.core.errors import InputError
from orchestrator.run import study as store
from orchestrator.run.as_records import BEST, LATEST, trial_id
from orchestrator.store.storage import storage_url

RANGE = {"lr": FloatDistribution(0.0, 1.0)}


def opened(folder, *, resume=False, storage=None):
    return store.open_study(storage_url(folder, storage), "run", resume=resume)


@pytest.mark.parametrize("storage", [None, "journal"])
def test_what_is_in_memory_is_in_the_database(tmp_path, storage):
    study = opened(tmp_path, storage=storage)
    for number in range(4):
        study.begin({"lr": number / 10}, RANGE, folder=trial_id(number))
        study.note(number, **{LATEST: {"epoch": 2, "best_hmean": 0.5 + number / 10}})
        study.report(number, 1, 0.4)
        study.report(number, 2, 0.5 + number / 10)
    study.end(0, TrialState.COMPLETE)
    study.end(1, TrialState.PRUNED)
    study.end(2, TrialState.FAIL)
    again = opened(tmp_path, resume=True, storage=storage)
    assert again.records() == study.records()
    for kept, read in zip(study.trials, again.trials, strict=True):
        assert (kept.number, kept.state, kept.values) == (read.number, read.state, read.values)
        assert (kept.params, kept.user_attrs) == (read.params, read.user_attrs)
        assert kept.intermediate_values == read.intermediate_values
    assert [t.value for t in again.trials] == [0.5, 0.6, None, None]
    assert again.next_number == 4


def test_points_that_an_earlier_version_queued_are_no_trials(tmp_path):
    import optuna

    old = optuna.create_study(storage=storage_url(tmp_path, None), study_name="run")
    old.enqueue_trial({"lr": 0.5})
    old.tell(old.ask(), 0.5)
    old.enqueue_trial({"lr": 0.75})
    study = opened(tmp_path, resume=True)
    assert [t.number for t in study.trials] == [0]
    assert study.begin({"lr": 0.1}, RANGE).number == study.next_number - 1 == 2
    assert [r.trial for r in study.records()] == ["00000", "00002"]


def test_page_scores_are_in_the_order_of_the_studys_pages(tmp_path):
    study = opened(tmp_path)
    scores = [{"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.4, "c": 0.5}, {"b": 0.6, "d": 0.7}]
    for number, own in enumerate(scores):
        study.begin({"lr": number / 10}, RANGE)
        study.note(number, **{LATEST: {"epoch": 1, "best_epoch": 1}})
        study.note(number, **{BEST: {"epoch": 1, "hmeans": study.in_order(own)}})
    again = opened(tmp_path, resume=True)
    assert [again.page_scores(number) for number in range(3)] == scores
    found = [record.page_hmeans for record in again.records()]
    nan = math.nan
    expected = [(0.1, 0.2, 0.3), (0.4, nan, 0.5), (nan, 0.6, nan, 0.7)]
    assert [list(map(str, row)) for row in found] == [list(map(str, row)) for row in expected]


def test_a_study_is_not_made_by_looking_for_it(tmp_path):
    url = storage_url(tmp_path, None)
    with pytest.raises(InputError, match=r"holds no study called 'run' \(it is empty\)"):
        store.stored_study(url, "run")
    assert store.study_names(url) == []
    store.open_study(url, "run", resume=False)
    assert store.stored_study(url, "run").name == "run"
