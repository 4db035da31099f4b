"""Which trainings a curve is made of, for runs whose trials are known; without Ray."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState

from detector.core.errors import InputError
from orchestrator.page_parts.kept import FILE
from orchestrator.page_parts.plan import plan
from orchestrator.propose.kept import KeptJobs, KeptTrainings, best_of
from orchestrator.run.as_records import TWIN
from orchestrator.run.run import Run

ALL = (TrialState.COMPLETE, [0.1, 0.2, 0.3, 0.4, 0.5, 0.9])


def summary(run: Run, halvings: int = 2) -> list[tuple[int, int, str, int | None]]:
    """Of each size its pages, epochs, folder in the trial's and the seed of its training."""
    planned = plan(run, halvings)
    home = run.trial_folder(int(planned.leader.trial))
    return [
        (
            size.pages,
            size.epochs,
            size.folder.relative_to(home).as_posix(),
            size.training and size.training.seed,
        )
        for size in planned.sizes
    ]


def test_what_was_chosen_is_trained_again_with_another_seed(made):
    run = made()
    run.add(*ALL)
    run.add(TrialState.PRUNED, [0.2])
    # Five steps of two pages in an epoch of ten, one of two pages, two of four.
    parts = [(2, 30, "pages/2-of-10", 8), (4, 12, "pages/4-of-10", 8)]
    assert summary(run.run) == [*parts, (10, 6, "pages/10-of-10", 8)]
    assert [t.name for t in plan(run.run, 1).trainings] == ["5 pages", "10 pages"]
    assert plan(run.run, 2).trainings[-1].values == {}
    # A confirmation is such a training, where it has not failed and its weights are there.
    result = {"hmean": 0.8, "iou_hmean": 0.5, "epochs": 6, "best_epoch": 1, "seconds": 1.0}
    run.study.keep_confirmation("00000", 8, result | {"reason": "it broke"})
    run.study.keep_confirmation("00000", 9, result | {"reason": None})
    assert summary(run.run)[-1] == (10, 6, "pages/10-of-10", 8)
    best_of(run.run.trial_folder(0) / "seeds/9").mkdir(parents=True)
    parts = [(pages, epochs, folder, 9) for pages, epochs, folder, _ in parts]
    assert summary(run.run) == [*parts, (10, 6, "seeds/9", None)]


def test_a_single_trial_is_itself_the_score_of_all_pages(made):
    run = made()
    run.add(*ALL)
    assert summary(run.run) == [
        (2, 30, "pages/2-of-10", 7),
        (4, 12, "pages/4-of-10", 7),
        (10, 6, ".", None),
    ]


def test_of_pages_that_would_not_hold_their_half_fewer_are_the_whole(made):
    run = made(", data.train_pages: 6")
    run.add(*ALL)
    # One and two of ten pages lie within four of them, not within six.
    assert [(size[0], size[2]) for size in summary(run.run)] == [
        (1, "pages/1-of-10"),
        (2, "pages/2-of-10"),
        (4, "pages/4-of-10"),
    ]


def test_pages_of_the_validation_are_counted_nowhere(made):
    run = made(", data.val_split: train, data.val_pages: 2")
    run.add(*ALL)
    assert [size[0] for size in summary(run.run)] == [2, 4, 10]  # one split is trained on whole


def test_the_time_is_that_of_the_training_whose_weights_a_trial_has(made):
    run = made()
    run.add(TrialState.COMPLETE, [0.5] * 6, seconds=300.0)
    run.add(*ALL, seconds=2.0, **{TWIN: 0})
    assert plan(run.run, 2).seconds == 300.0


def test_a_run_on_three_pages_is_one_message(made):
    run = made(", data.train_pages: 3")
    run.add(*ALL)
    with pytest.raises(InputError, match="trained on 3 pages"):
        plan(run.run, 1)


def test_what_succeeded_is_kept_and_what_failed_is_tried_again(made):
    run = made()
    run.add(*ALL)
    trainings, said = plan(run.run, 2).trainings, []
    jobs = KeptJobs(KeptTrainings(run.folder, FILE), trainings, said.append)
    few, more = jobs.next_job(), jobs.next_job()
    assert (few.values["data.train_pages"], few.seed) == (2, 7)
    assert few.key != more.key
    assert (jobs.next_job(), jobs.left) == (None, 2)
    jobs.ended(few, {"epoch": 30, "best_hmean": 0.8, "finished": True, "seconds": 3.0})
    jobs.ended(more, {"error": "it broke"})
    assert (jobs.next_job(), jobs.left, jobs.failed) == (None, 0, {"4 pages": "it broke"})
    assert said == [
        "2 pages: H-mean 0.8000",
        "4 pages: failed: it broke",
    ]
    best_of(few.folder).mkdir(parents=True)
    again = KeptJobs(KeptTrainings(run.folder, FILE), trainings)
    assert again.left == 1
    assert again.next_job().folder == more.folder
