"""What each section says of runs whose figures are known."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from optuna.trial import TrialState

from detector.config.settings import TrainConfig
from detector.training.storage.environment import read_code, read_environment
from detector.training.storage.fingerprint import Pages
from detector.training.storage.provenance import Provenance, Weights, write_record
from orchestrator.page_parts import folds
from orchestrator.page_parts.folds import FoldScores, PartScore
from orchestrator.page_parts.kept import FILE, PageCurve
from orchestrator.page_parts.scores import Scored
from orchestrator.peers.beside import Beside, Figures, keep
from orchestrator.propose.kept import KeptTrainings
from orchestrator.report_page import (
    board,
    cost,
    progress_charts,
    reproduce,
    settings_charts,
    summary,
)
from orchestrator.report_page.blocks import Chart, Command, Facts, Items, Paragraph, Table
from orchestrator.results.new_pages import new_pages
from orchestrator.run.as_records import LOST, PAUSED
from orchestrator.trials.records import TrialState as State


def texts(section):
    """All prose of a section, one text a line."""
    lines = []
    for block in section.blocks:
        lines += [block.text] if isinstance(block, Paragraph) else []
        lines += list(block.texts) if isinstance(block, Items) else []
        lines += [block.summary] if isinstance(block, Chart) else []
    return "\n".join(lines)


def chart(section, name):
    return next(b for b in section.blocks if isinstance(b, Chart) and b.name == name)


def test_the_summary_names_the_winner_its_interval_and_its_ties(usual):
    section = summary.section(usual.facts())
    text = texts(section)
    assert section.title == "Which trial to ship"
    found = new_pages(usual.facts().records)
    assert (
        "Trial 00000: H-mean 0.9000 on 10 validation pages. Expected on new pages: "
        f"{found.hmean:.4f} ({found.low:.4f} to {found.high:.4f})."
    ) in text
    assert 0.88 < found.low < found.hmean < 0.9 < found.high < 0.91
    assert "the best of 5 trials on them" in text
    assert f"of all such pages it is {found.mean_low:.4f} to {found.mean_high:.4f}." in text
    assert "the highest H-mean of the 3 trials trained to the end" in text
    assert "1 trial cannot be told from it on these pages: 00001" in text
    assert "trial 00001: 12.00 million weights against 22.00, H-mean 0.8990" in text
    assert "5 of 8 planned trials begun: 3 finished, 1 stopped and 1 failed." in text


def test_without_page_scores_the_summary_says_why_it_expects_nothing(make_run):
    run = make_run()
    run.add(TrialState.COMPLETE, [0.5, 0.75], pages=[0.75])
    text = texts(summary.section(run.facts()))
    assert "Trial 00000: H-mean 0.7500 on 1 validation page. What to expect on new pages " in text
    assert "is not known, since trial 00000 has scores of fewer than two pages." in text
    assert "Expected is" not in text


def test_the_command_to_predict_needs_the_weights(usual):
    assert "nothing to run" in texts(summary.section(usual.facts()))
    (usual.folder / "trials/00000_resnet34/checkpoint/best").mkdir(parents=True)
    commands = [b for b in summary.section(usual.facts()).blocks if isinstance(b, Command)]
    assert [c.line for c in commands] == [
        f"python -m detector.predict checkpoint={usual.folder}/best images=FOLDER "
        "output=predictions.json"
    ]


def confirm(run, trial, *hmeans):
    for seed, hmean in enumerate(hmeans, 1):
        result = {"hmean": hmean, "iou_hmean": None, "epochs": 6, "best_epoch": 6}
        run.study.keep_confirmation(trial, seed, result | {"seconds": 20.0, "reason": None})


def test_new_seeds_are_the_score_that_counts(usual):
    confirm(usual, "00000", 0.80, 0.81)
    confirm(usual, "00001", 0.88, 0.86)
    facts = usual.facts()
    # The mean of 0.88 and 0.86 is 0.87, their sample deviation 0.01 * sqrt(2).
    assert summary.headline(facts, facts.best).startswith(
        "Trial 00001: H-mean 0.8700 ± 0.0141 (standard deviation), the mean of 2 new seeds; "
        "the first one gave 0.8990"
    )
    reasons = "\n".join(summary.reasons(facts, facts.best))
    assert "the highest H-mean to expect of another seed, 0.87" in reasons
    assert "Trained again with new seeds were also 00000 (0.8050 ± 0.0071)" in reasons
    assert "0.0290 above that mean" in reasons
    assert cost.count(facts).again == 24
    assert cost.count(facts).again_seconds == 80.0


@pytest.mark.parametrize(
    ("hmeans", "top", "said"),
    [
        ((0.92, 0.90), "00001", "It is the only trial that was trained again with new seeds."),
        ((0.88, 0.86), "00000", "not trained again with new seeds, as 00001 (0.8700 ± 0.0141) was"),
    ],
)
def test_the_best_is_said_to_be_confirmed_or_not(usual, hmeans, top, said):
    confirm(usual, "00001", *hmeans)
    facts = usual.facts()
    assert facts.best.trial == top
    assert said in "\n".join(summary.reasons(facts, facts.best))
    headers = next(b for b in board.leaderboard(facts).blocks if isinstance(b, Table)).headers
    assert headers[headers.index("new seeds") + 1] == "expected"


def test_a_paused_trial_may_be_the_one_to_ship_and_is_called_so(usual):
    usual.add(TrialState.RUNNING, [0.5, 0.95], lr=4e-3, **{PAUSED: 2})
    text = texts(summary.section(usual.facts()))
    assert "Trial 00005 (paused after epoch 2 of 6): H-mean 0.9500 on 2 validation pages." in text
    assert "Of trials trained to the end, 00000 is first: 0.9000." in text
    table = next(b for b in board.leaderboard(usual.facts()).blocks if isinstance(b, Table))
    assert [cell.text for cell in table.rows[0][:2]] == ["1", "00000"]
    assert [table.rows[i][1].text for i in table.marks] == ["00005"]
    curves = chart(progress_charts.learning(usual.facts()), "learning-curves").figure
    assert [d["name"] for d in curves["data"]][-2:] == ["trial 00000", "trial 00005"]


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([], "No trial has started yet."),
        ([(TrialState.FAIL, [])], "Nothing to ship: all 1 trial failed."),
        ([(TrialState.RUNNING, [])], "No trial has a score yet."),
        ([(TrialState.COMPLETE, [0.0] * 6)], "Nothing to ship: every H-mean is 0, so nothing was "),
        ([(TrialState.PRUNED, [0.4])], "No trial has been trained to the end yet."),
        ([(TrialState.COMPLETE, [0.4] * 6)], "the only trial that was trained to the end"),
    ],
)
def test_runs_with_little_to_say_say_so(make_run, trials, expected):
    run = make_run()
    for state, hmeans in trials:
        run.add(state, hmeans)
    assert expected in texts(summary.section(run.facts()))


def test_a_search_for_two_things_has_no_single_winner(make_run):
    run = make_run(search={"objectives": ["hmean", "params_m"]})
    run.add(TrialState.COMPLETE, [0.9] * 6, backbone="resnet34")
    run.add(TrialState.COMPLETE, [0.8] * 6, backbone="resnet18")
    text = texts(summary.section(run.facts()))
    assert "no trial is best in all" in text
    assert "on the Pareto front are 00000 and 00001" in text


def test_the_leaderboard_has_every_trial_and_no_empty_column(usual):
    table = next(b for b in board.leaderboard(usual.facts()).blocks if isinstance(b, Table))
    names = [row[list(table.headers).index("trial")].text for row in table.rows]
    assert names == ["00000", "00001", "00002", "00003", "00004"]
    assert table.states == ["finished"] * 3 + ["stopped", "failed"]
    assert table.marks == {0}
    assert "new seeds" not in table.headers
    assert "optimizer.lr" in table.headers
    tied = [row[list(table.headers).index("tied")].text for row in table.rows]
    assert tied == ["", "tied", "", "", ""]


def test_the_history_is_the_running_best_in_the_order_of_ends(make_run):
    run = make_run()
    for hmean in (0.5, 0.7, 0.6, 0.8):
        run.add(TrialState.COMPLETE, [hmean] * 6)
    drawn = chart(progress_charts.history(run.facts()), "history-chart")
    best = next(d for d in drawn.figure["data"] if d["name"] == "best so far")
    assert best["x"] == [1, 2, 3, 4, 4]
    assert best["y"] == [0.5, 0.7, 0.7, 0.8, 0.8]
    assert "came with trial 00003, the 4th to end" in drawn.summary


def test_learning_curves_are_the_intermediate_values_of_all_trials(usual):
    drawn = chart(progress_charts.learning(usual.facts()), "learning-curves")
    curves = {d["name"]: d for d in drawn.figure["data"]}
    assert curves["trial 00000"]["x"] == [1, 2, 3, 4, 5, 6]
    assert curves["trial 00000"]["y"] == [0.5, 0.6, 0.7, 0.8, 0.85, 0.9]
    assert len(curves) == 5
    assert "in epoch 6 of 6: it was still rising" in drawn.summary


def test_scores_of_parts_are_a_table_below_what_they_say(usual):
    assert progress_charts.by_folds(usual.facts()) == []
    parts = [PartScore("part 1 of 2", 3, 0.9, 0.5), PartScore("part 2 of 2", 1, 0.5, 0.25)]
    scores = FoldScores("00000", 4, 0.8, 0.6, 0.95, parts)
    KeptTrainings(usual.folder, folds.FILE).write(scores=scores.as_json())
    (section,) = progress_charts.by_folds(usual.facts())
    told, table = section.blocks
    assert told.text == scores.sentence
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["part 1 of 2", "3", "0.9000", "0.5000"],
        ["part 2 of 2", "1", "0.5000", "0.2500"],
    ]


def test_other_detectors_stand_beside_the_trial_to_ship_and_no_other(usual):
    assert board.beside(usual.facts()) == []
    top = usual.facts().best.trial
    figures = Figures(0.9, 0.8, 0.875, 0.75), Figures(0.5, 0.4, 0.5, 0.25)
    one = Beside(top, "ppocrv6_small", 4, *figures, 0.0, 0.375, 0.25, 0.5)
    keep(usual.folder, one)
    keep(usual.folder, replace(one, trial="99999", other="runs/old/best"))
    (section,) = board.beside(usual.facts())
    told, table, left = section.blocks
    assert told.text == one.sentence
    assert [[cell.text for cell in row] for row in table.rows] == [
        [f"trial {top}", "0.9000", "0.8000", "0.8750", "0.7500", ""],
        ["ppocrv6_small", "0.5000", "0.4000", "0.5000", "0.2500", "+0.3750 (+0.2500 to +0.5000)"],
    ]
    assert left.text.startswith("runs/old/best stood beside another trial")


def test_more_pages_are_told_where_that_was_tried(usual):
    assert progress_charts.by_pages(usual.facts()) == []
    scores = [Scored(0, 0.5, {"a": hmean, "b": hmean}) for hmean in (0.90, 0.92, 0.93)]
    curve = PageCurve.of("00000", [(25, 24), (50, 12), (100, 6)], scores)
    KeptTrainings(usual.folder, FILE).write(curve=curve.as_json())
    (section,) = progress_charts.by_pages(usual.facts())
    drawn = chart(section, "pages-chart")
    assert drawn.summary.startswith(f"{curve.sentence} Trained with the settings of trial 00000")
    assert "scored on 2 validation pages" in drawn.summary
    known, expected = drawn.figure["data"]
    assert (known["x"], known["y"]) == ([25, 50, 100], pytest.approx([0.90, 0.92, 0.93]))
    assert (expected["x"], expected["y"]) == ([200], [curve.twice.hmean])
    assert drawn.figure["layout"]["xaxis"]["tickvals"] == [25, 50, 100, 200]


def test_other_curves_are_one_line_with_gaps(make_run):
    run = make_run()
    for i in range(7):
        run.add(TrialState.COMPLETE, [0.9 - 0.01 * i] * 2)
    drawn = chart(progress_charts.learning(run.facts()), "learning-curves")
    rest = next(d for d in drawn.figure["data"] if d["name"] == "trained to the end")
    assert rest["x"] == [1, 2, None, 1, 2, None]
    assert rest["text"] == ["00005"] * 3 + ["00006"] * 3


def test_settings_need_two_finished_trials_that_differ(make_run):
    run = make_run()
    run.add(TrialState.COMPLETE, [0.5])
    assert "fewer than two" in texts(settings_charts.section(run.facts()))
    run.add(TrialState.COMPLETE, [0.6])
    assert "none varied" in texts(settings_charts.section(run.facts()))


def test_settings_show_importance_and_slices(usual):
    section = settings_charts.section(usual.facts())
    assert [b.name for b in section.blocks if isinstance(b, Chart)] == ["importance", "slices"]
    assert "So few say little" in texts(section)
    json.dumps([b.figure for b in section.blocks if isinstance(b, Chart)], allow_nan=False)


def test_trials_with_one_score_do_not_stop_the_page(make_run):
    run = make_run()
    for lr in (1e-3, 2e-3, 3e-3):
        run.add(TrialState.COMPLETE, [0.0], lr=lr)
    assert settings_charts.section(run.facts()).blocks


def keep_curve(run, record, **changes):
    folder = run.facts().folder_of(record)
    folder.mkdir(parents=True, exist_ok=True)
    curve = {"epoch": 6, "box_thresh": [0.3, 0.4, 0.5, 0.6], "hmean": [0.88, 0.899, 0.9, 0.897]}
    (folder / "box_thresh.json").write_text(json.dumps(curve | changes))


def test_box_thresh_curves_come_from_what_trainings_kept(usual):
    top = usual.facts().best
    keep_curve(usual, top)
    drawn = chart(settings_charts.by_box_thresh(usual.facts()), "box-thresh-chart")
    assert drawn.figure["data"][0]["y"] == [0.88, 0.899, 0.9, 0.897]
    # 0.9 at 0.5; 0.899 is within 0.002 of it, 0.897 is not.
    assert "best at 0.5 with 0.9000, and loses 0.002 at most from 0.4 to 0.5" in drawn.summary


@pytest.mark.parametrize(
    "changes", [{"epoch": 5}, {"hmean": [0.1]}, {"box_thresh": None}, {"hmean": ["?"] * 4}]
)
def test_a_curve_that_is_not_of_the_best_epoch_or_broken_is_left_out(usual, changes):
    keep_curve(usual, usual.facts().best, **changes)
    assert "No curve was kept" in texts(settings_charts.by_box_thresh(usual.facts()))


def test_the_cost_counts_epochs_by_why_they_were_not_trained(usual):
    usual.add(TrialState.COMPLETE, [0.4, 0.5, 0.5, 0.5])  # patience: two epochs less
    usual.add(TrialState.COMPLETE, [0.4] * 6, same_weights_as=0)
    usual.add(TrialState.RUNNING, [0.4])
    counted = cost.count(usual.facts())
    assert counted.planned == 8 * 6
    assert counted.trained == 18 + 2 + 1 + 4 + 1
    assert counted.stopped == 4  # the stopped one trained 2 of 6
    assert counted.failed == 5
    assert counted.patience == 2
    assert counted.twins == 6
    assert counted.ahead == 5
    assert counted.saved == 4 + 2 + 6
    assert counted.seconds == 80.0


def test_the_cost_counts_what_was_scored_instead_of_trained(usual):
    facts = usual.facts()
    # thresh has 2 values, box_thresh 3; quads grow by a ratio and exactly, polygons exactly.
    assert cost.settings_of(facts) == 2 * 3 * 3
    assert cost.count(facts).scored == 18 * (6 + 6 + 6 + 2 + 1)


def test_the_pareto_table_has_the_front_alone(usual):
    section = board.pareto(usual.facts())
    table = next(b for b in section.blocks if isinstance(b, Table))
    # 22 million weights with 0.9, 12 million with 0.899; the third has 12 million with 0.6.
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["00000", "0.9000", "22"],
        ["00001", "0.8990", "12"],
    ]


def test_a_computed_objective_is_in_the_table_and_in_the_chart(make_run):
    run = make_run(search={"objectives": ["hmean", "tail_hmean"]})
    run.add(TrialState.COMPLETE, [0.9] * 6, lr=1e-3, pages=[1.0, 0.8])
    run.add(TrialState.COMPLETE, [0.8] * 6, lr=2e-3, pages=[0.7, 0.9])
    section = board.pareto(run.facts())
    assert section.title == "Pareto front of H-mean and H-mean of the worst pages"
    assert chart(section, "pareto-tail-hmean").figure["data"][1]["x"] == [0.8]
    table = next(b for b in board.leaderboard(run.facts()).blocks if isinstance(b, Table))
    place = list(table.headers).index("H-mean of the worst pages")
    assert [row[place].text for row in table.rows] == ["0.8000", "0.7000"]


def test_faults_are_told_once_for_each_reason(usual):
    usual.add(TrialState.FAIL, [], reason="out of memory")
    usual.add(TrialState.FAIL, [], reason="NaN")
    usual.add(TrialState.COMPLETE, [0.3] * 6, **{LOST: 2})
    facts = usual.facts()
    assert cost.alike(facts) == {"out of memory": ["00004", "00005"], "NaN": ["00006"]}
    tables = [b for b in cost.faults(facts).blocks if isinstance(b, Table)]
    assert [[c.text for c in row] for row in tables[1].rows] == [["00007", "2"]]


def test_a_run_without_faults_says_so(make_run):
    assert "None" in texts(cost.faults(make_run().facts()))


def test_the_commands_to_reproduce_have_what_differs_from_the_defaults(make_run):
    run = make_run(
        seed=7,
        search={"objectives": ["hmean", "latency_ms"], "narrow": {"optimizer.lr": [1e-3, 2e-3]}},
        budget={"trials": 8, "patience": 3},
        confirm={"top": 2},
    )
    assert reproduce.search_command(run.facts()) == (
        f"python -m orchestrator.search space={run.folder}/space.yaml name=run-again seed=7 "
        "'search.objectives=[hmean,latency_ms]' budget.trials=8 budget.patience=3 confirm.top=2"
    )


def test_a_trial_without_a_record_is_named(usual):
    section = reproduce.section(usual.facts())
    assert "Trial 00000 has no record.json" in texts(section)
    assert dict(section.blocks[-2].pairs)["seed of the search"] == "0"
    assert isinstance(section.blocks[-2], Facts)


@pytest.mark.parametrize("licence", ["", "Apache-2.0"])
def test_what_the_best_trial_began_as_is_told_with_its_licence(usual, licence):
    facts = usual.facts()
    pages = Pages(split="train", pages=1, words=2, annotations="a", sizes="b", images=None)
    record = Provenance(
        version=1,
        config=TrainConfig(),
        train=pages,
        val=pages,
        weights=Weights(source="another's detector", digest="c", licence=licence),
        code=read_code(),
        environment=read_environment(torch.device("cpu")),
    )
    write_record(facts.folder_of(facts.best), record)
    told = dict(reproduce.section(facts).blocks[-1].pairs)
    assert told["first weights"] == "another's detector (digest c)"
    assert told.get("licence of the first weights", "") == licence


def test_facts_rank_as_the_leaderboard_does(usual):
    facts = usual.facts()
    assert [r.trial for r in facts.records] == [row["trial"] for row in facts.rows]
    assert facts.best.trial == "00000"
    assert [r.trial for r in facts.of(State.FAILED)] == ["00004"]
