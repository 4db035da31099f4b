"""Which trainings leave out which pages, and what their scores say; without Ray."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from detector.core.errors import InputError, JobError
from orchestrator.page_parts.folds import FILE, FoldPlan, FoldScores, fold_plan, read_folds
from orchestrator.page_parts.scores import Scored
from orchestrator.propose.kept import KeptTrainings
from orchestrator.run.as_records import TWIN

ALL = (TrialState.COMPLETE, [0.1, 0.2, 0.3, 0.4, 0.5, 0.9])


def left_out(plan: FoldPlan) -> list[str]:
    """The pages that each training is scored on, by their numbers."""
    return ["".join(page.name[0] for page in fold.pages) for fold in plan.folds]


def test_each_part_is_scored_by_a_training_on_the_others(made):
    run = made()
    run.add(*ALL, seconds=300.0)
    run.add(TrialState.COMPLETE, [0.1] * 6)
    plan = fold_plan(run.run, 3)
    assert (plan.leader.trial, plan.seconds) == ("00000", 300.0)
    assert left_out(plan) == ["0123", "456", "789"]
    home = run.run.trial_folder(0)
    first = plan.folds[0].training
    assert (first.folder, first.seed) == (home / "folds/1-of-3", 7)
    assert first.values == {"data.val_split": "train@1/3", "data.val_pages": None}
    assert [fold.name for fold in plan.folds] == [f"part {i} of 3" for i in (1, 2, 3)]
    assert plan.cost(2) == (
        "cost: 2 of 3 trainings are to do with the settings of trial 00000, whose own took 5m 00s: "
        "about 10m 00s in all (trials/00000*/folds/*/log.txt); and more, as they validate on up "
        "to 4 pages and it did on 2"
    )


def test_pages_that_trials_were_compared_by_are_scored_in_no_part(made):
    run = made(", data.val_split: train@2/5")
    run.add(*ALL)
    plan = fold_plan(run.run, 5)
    assert left_out(plan) == ["01", "45", "67", "89"]
    assert plan.cost(1).endswith("*/log.txt)")  # as many pages as the trial had
    halves = fold_plan(run.run, 2)
    assert left_out(halves) == ["014", "56789"]
    assert halves.cost(1).endswith("up to 5 pages and it did on 2")  # 2 and 3 among the five
    with pytest.raises(InputError, match="folds: part 2 of 4 has one page that the search did not"):
        fold_plan(run.run, 4)


def test_a_limit_of_validation_pages_is_not_that_of_a_part(made):
    run = made(", data.val_split: train@1/2, data.val_pages: 2")
    run.add(*ALL)
    plan = fold_plan(run.run, 2)
    assert left_out(plan) == ["134", "56789"]  # 0 and 2 were compared by
    assert plan.cost(2).endswith("; and more, as they validate on up to 5 pages and it did on 2")


def test_the_time_is_that_of_the_training_whose_weights_the_leader_has(made):
    run = made()
    run.add(TrialState.COMPLETE, [0.5] * 6, seconds=300.0)
    run.add(*ALL, seconds=2.0, **{TWIN: 0})
    assert fold_plan(run.run, 2).seconds == 300.0


def test_what_there_is_nothing_to_say_of_is_one_message(made):
    run = made(", data.val_split: train")
    run.add(TrialState.PRUNED, [0.2])
    with pytest.raises(InputError, match="no trial that was trained to the end, of 1; let"):
        fold_plan(run.run, 2)
    run.add(*ALL)
    with pytest.raises(InputError, match="compared trials by all training pages"):
        fold_plan(run.run, 2)


def scored(*hmeans: float) -> Scored:
    pages = {str(number): hmean for number, hmean in enumerate(hmeans)}
    return Scored(float(np.mean(hmeans)) if hmeans else 0.0, 0.5, pages)


def test_all_pages_count_alike_whatever_their_part(made):
    run = made()
    run.add(*ALL)
    plan = fold_plan(run.run, 2)
    found = FoldScores.of(plan, [scored(0.9, 0.8, 1.0), scored(0.5)])
    assert (found.trial, found.pages, found.hmean) == ("00000", 4, pytest.approx(0.8))
    assert [(part.name, part.pages, part.hmean) for part in found.parts] == [
        ("part 1 of 2", 3, pytest.approx(0.9)),
        ("part 2 of 2", 1, 0.5),
    ]
    assert found.sentence == (
        "On 4 pages that no choice has seen, each by a training without it, the settings of trial "
        f"00000 have H-mean 0.8000; the mean of all pages of this kind lies between "
        f"{found.low:.4f} and {found.high:.4f}."
    )
    with pytest.raises(JobError, match="fewer than two pages have a score"):
        FoldScores.of(plan, [scored(0.9), scored()])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_mean_lies_in_its_interval(hmeans: list[float]):
    half = len(hmeans) // 2
    leader = type("Leader", (), {"trial": "00000"})
    fold = type("Fold", (), {"name": "part"})
    plan = FoldPlan(leader, 1.0, (fold, fold), 2, 2)  # type: ignore[arg-type]
    found = FoldScores.of(plan, [scored(*hmeans[:half]), scored(*hmeans[half:])])
    assert 0 <= found.low <= found.hmean + 1e-9
    assert found.hmean - 1e-9 <= found.high <= 1


def test_what_is_kept_is_read_again_and_a_file_that_was_changed_is_one_message(made):
    run = made()
    run.add(*ALL)
    assert read_folds(run.folder) is None
    found = FoldScores.of(fold_plan(run.run, 2), [scored(0.9, 0.8), scored(0.5)])
    KeptTrainings(run.folder, FILE).write(scores=found.as_json())
    assert read_folds(run.folder) == found
    for text in ("[]", '{"scores": {}}', '{"scores": {"parts": [1]}}', "{"):
        (run.folder / FILE).write_text(text)
        with pytest.raises(InputError, match=FILE):
            read_folds(run.folder)
