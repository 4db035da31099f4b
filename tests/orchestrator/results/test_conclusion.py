"""What is said at the end of a search, by what came of it (whole searches: test_search.py)."""

from __future__ import annotations

import shlex

import pytest
from optuna.trial import TrialState
from sessions import add_trial, make_run

from detector.core.errors import JobError
from orchestrator.results.conclusion import conclude
from orchestrator.run.as_records import BEST
from orchestrator.run.run import Run
from orchestrator.space.parameters import Budget
from orchestrator.space.search_space import SearchSpace


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(
        name="s",
        description="",
        fixed={"data.root": "my receipts"},
        parameters={},
        warm_start=(),
        budget=Budget(trials=2, epochs=3, grace_epochs=1, reduction_factor=2),
    )


def said(run: Run, capsys) -> str:
    assert conclude(run) == 0
    text = capsys.readouterr().out
    return text[text.index("leaderboard  ") :]


def test_commands_for_the_best_model_can_be_pasted(space, tmp_path, capsys):
    folder = tmp_path / "one & two"
    folder.mkdir()
    run = make_run(folder, space)
    add_trial(run, TrialState.COMPLETE, 0.5, epoch=3)
    lines = said(run, capsys).splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith("  python -m ")]
    assert [words[2] for words in commands] == [
        "detector.tune_postprocess",
        "detector.predict",
        "detector.train",
    ]
    assert f"checkpoint={folder}/best" in commands[0]
    assert "data.root=my receipts" in commands[0]
    assert "images=my receipts/images/val" in commands[1]
    assert commands[2][3:] == [
        f"config={folder}/best/config.yaml",
        f"output={folder}/longer",
        "train.epochs=9",
    ]
    assert f"best model   {folder}/best/ (trial 00000, finished)" in lines
    assert f"curves       tensorboard --logdir '{folder}'" in lines


def test_the_best_model_may_be_of_a_trial_that_was_paused_when_a_limit_came(
    space, tmp_path, capsys
):
    source = tmp_path / "trials/00001"
    source.mkdir(parents=True)
    (source / "model.safetensors").write_text("weights of 00001")
    run = make_run(tmp_path, space)
    add_trial(run, TrialState.COMPLETE, 0.6, epoch=3)
    add_trial(run, TrialState.RUNNING, 0.95, epoch=1, checkpoint="trials/00001")
    text = said(run, capsys)
    assert f"best model   {tmp_path}/best/ (trial 00001, paused after epoch 1 of 3)" in text
    assert (tmp_path / "best/model.safetensors").read_text() == "weights of 00001"
    rows = (tmp_path / "leaderboard.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in rows[1:]] == [
        ["1", "00000", "finished"],
        ["", "00001", "paused"],
    ]


def test_below_the_best_model_stands_what_it_is_to_score_on_new_pages(space, tmp_path, capsys):
    run = make_run(tmp_path, space)
    add_trial(run, TrialState.RUNNING, 0.6, epoch=3, best_epoch=3)
    run.study.note(0, **{BEST: {"epoch": 3, "hmeans": [0.6, 0.6, 0.6]}})
    lines = said(run, capsys).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("best model   "))
    assert lines[place + 1] == (
        "             expected on new pages: 0.6000 (0.6000 to 0.6000); 0.6000 on the pages it was "
        "chosen by"
    )


def test_without_page_scores_it_says_that_nothing_is_known_of_new_pages(space, tmp_path, capsys):
    run = make_run(tmp_path, space)
    add_trial(run, TrialState.COMPLETE, 0.6, epoch=3)
    assert (
        "\n             expected on new pages: not known, since the page scores of trial 00000 "
        "were not kept\n"
    ) in said(run, capsys)


def test_a_search_that_found_no_word_offers_no_model(space, tmp_path, capsys):
    run = make_run(tmp_path, space)
    add_trial(run, TrialState.COMPLETE, 0.0, epoch=3)
    text = said(run, capsys)
    assert "nothing was learnt: every H-mean is 0, so there is no model to use" in text
    assert "at most 3 epochs here (budget.epochs)" in text
    assert "  python -m detector.inspect 'data.root=my receipts' output=review" in text
    assert "best model" not in text
    assert "new pages" not in text
    assert "detector.predict" not in text


def test_trials_that_all_failed_are_a_failed_search(space, tmp_path):
    run = make_run(tmp_path, space)
    add_trial(run, TrialState.FAIL, None, reason="no memory")
    with pytest.raises(JobError, match=r"no trial has a score.*\ntrial 00000: no memory"):
        conclude(run)


def test_a_trial_that_no_worker_has_after_the_end_waits(space, tmp_path, capsys):
    run = make_run(tmp_path, space)
    add_trial(run, TrialState.COMPLETE, 0.6, epoch=3)
    run.study.begin({}, {})  # a limit came before a worker was free
    said(run, capsys)
    rows = (tmp_path / "leaderboard.csv").read_text().splitlines()
    assert [row.split(",")[1:3] for row in rows[1:]] == [
        ["00000", "finished"],
        ["00001", "pending"],
    ]
