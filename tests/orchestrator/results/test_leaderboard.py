from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.core.errors import InputError
from orchestrator.results import comparison, leaderboard, ranking
from orchestrator.results.leaderboard import read_leaderboard, write_leaderboard
from orchestrator.results.ranking import best, ranked
from orchestrator.trials.records import TrialRecord, TrialState

FINISHED, STOPPED, FAILED = TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def records() -> list[TrialRecord]:
    return [
        TrialRecord("00000", FAILED, {"optimizer.lr": 0.1}, reason="JobError: loss is nan"),
        TrialRecord("00001", STOPPED, {"optimizer.lr": 0.01}, hmean=0.95, epochs=2),
        TrialRecord("00002", FINISHED, {"optimizer.lr": 0.001}, hmean=0.8, epochs=6),
        TrialRecord("00003", TrialState.RUNNING, {"optimizer.lr": 0.002}, hmean=0.99, epochs=1),
        TrialRecord("00004", FINISHED, {"optimizer.lr": 0.003}, hmean=0.9, epochs=6, seconds=61.5),
        TrialRecord("00005", TrialState.PENDING, {"optimizer.lr": 0.004}),
        TrialRecord("00006", STOPPED, {"optimizer.lr": 0.02}, hmean=0.97, epochs=2),
    ]


def test_finished_trials_come_first_whatever_the_others_score(records: list[TrialRecord]) -> None:
    order = [r.trial for r in ranked(records)]
    assert order == ["00004", "00002", "00006", "00001", "00003", "00005", "00000"]


def test_best_is_the_highest_score_whatever_the_state(records: list[TrialRecord]) -> None:
    found = [best([r for r in records if r.state in states]) for states in (TrialState, [FINISHED])]
    assert [r and r.trial for r in found] == ["00003", "00004"]
    finished = TrialRecord("00009", FINISHED, hmean=0.99)  # of equal ones the finished one
    assert best([*records, finished]) == finished
    assert best([records[0], records[5]]) is None
    assert best([]) is None


def test_ties_go_to_iou_and_then_to_the_earlier_trial() -> None:
    a = TrialRecord("00002", FINISHED, hmean=0.9, iou_hmean=0.5)
    b = TrialRecord("00001", FINISHED, hmean=0.9, iou_hmean=0.5)
    c = TrialRecord("00003", FINISHED, hmean=0.9, iou_hmean=0.6)
    assert [r.trial for r in ranked([a, b, c])] == ["00003", "00001", "00002"]


def test_trials_that_differ_by_luck_alone_are_ordered_by_their_new_seeds() -> None:
    lucky = TrialRecord("00000", FINISHED, hmean=0.99, confirmed=(0.7, 0.72, 0.74))
    steady = TrialRecord("00001", FINISHED, hmean=0.98, confirmed=(0.88, 0.9))
    alone = TrialRecord("00002", FINISHED, hmean=0.985)
    stopped = TrialRecord("00003", STOPPED, hmean=0.99)
    records = [stopped, alone, lucky, steady]
    # Seeds differ far more than first scores, so 0.985 is expected of each.
    assert ranked(records) == [steady, lucky, alone, stopped]
    other = replace(steady, trial="00004", hmean=0.99, confirmed=(0.9, 0.88))
    assert ranked([steady, other]) == [other, steady]


def test_a_nan_score_is_no_score() -> None:
    bad = TrialRecord("00000", FINISHED, hmean=float("nan"))
    good = TrialRecord("00001", FINISHED, hmean=0.0)
    assert ranked([bad, good]) == [good, bad]
    assert best([bad]) is None


def test_csv_has_the_documented_columns(tmp_path: Path, records: list[TrialRecord]) -> None:
    write_leaderboard(tmp_path / "run", records, ["optimizer.lr"])
    text = (tmp_path / "run" / "leaderboard.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == (
        "rank,trial,state,hmean,hmean_low,hmean_high,precision,recall,hmean_pooled,iou_hmean,"
        "epochs,seconds,params_m,optimizer.lr,confirmed_hmean,confirmed_sd,confirmed_seeds,"
        "expected_hmean,tuned_hmean,crossfit_hmean,latency_ms,p_next,tied,pareto,reason"
    )
    rows = read_csv(tmp_path / "run")
    assert [row["rank"] for row in rows] == ["1", "2", "", "", "", "", ""]
    assert rows[0] == {
        **dict.fromkeys(rows[0], ""),
        "rank": "1",
        "trial": "00004",
        "state": "finished",
        "hmean": "0.9",
        "epochs": "6",
        "seconds": "61.5",
        "optimizer.lr": "0.003",
        "pareto": "False",
    }
    assert rows[-1]["reason"] == "JobError: loss is nan"


def test_records_are_read_back_in_order(tmp_path: Path, records: list[TrialRecord]) -> None:
    write_leaderboard(tmp_path, records, ["optimizer.lr"])
    assert read_leaderboard(tmp_path) == ranked(records)
    content = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))
    assert content["parameters"] == ["optimizer.lr"]
    assert "CLEval" in content["metric"]
    assert [t["rank"] for t in content["trials"]][:3] == [1, 2, None]


def test_ties_and_the_front_are_in_both_files(tmp_path: Path) -> None:
    def trial(name: str, score: float, **figures: float) -> TrialRecord:
        return TrialRecord(name, FINISHED, hmean=score, page_hmeans=(score,) * 7, **figures)

    records = [
        trial("00000", 0.75, params_m=2.0, latency_ms=8.0),
        trial("00001", 0.5, params_m=3.0, latency_ms=7.0),
        TrialRecord("00002", STOPPED, hmean=0.9, params_m=1.0),
    ]
    write_leaderboard(tmp_path, records, [])
    found = [(r["p_next"], r["tied"], r["pareto"], r["latency_ms"]) for r in read_csv(tmp_path)]
    assert found == [
        ("0.015625", "True", "True", "8.0"),
        ("", "False", "False", "7.0"),
        ("", "", "", ""),
    ]
    trials = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))["trials"]
    assert [(t["p_next"], t["tied"], t["pareto"], t["latency_ms"]) for t in trials] == [
        (2 / 128, True, True, 8.0),
        (None, False, False, 7.0),
        (None, None, None, None),
    ]
    write_leaderboard(tmp_path, records, [], [("hmean", "max"), ("latency_ms", "min")])
    assert [r["pareto"] for r in read_csv(tmp_path)] == ["True", "True", ""]


def test_an_objective_that_is_no_column_becomes_one(tmp_path: Path) -> None:
    record = TrialRecord("00000", FINISHED, hmean=0.75, page_hmeans=(1.0, 0.5))
    write_leaderboard(tmp_path, [record], [], [("hmean", "max"), ("tail_hmean", "max")])
    (row,) = read_csv(tmp_path)
    assert list(row)[-2:] == ["reason", "tail_hmean"]
    assert (row["tail_hmean"], row["pareto"]) == ("0.5", "True")
    content = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))
    assert content["trials"][0]["tail_hmean"] == 0.5
    assert read_leaderboard(tmp_path) == [record]


def test_what_new_seeds_gave_is_in_both_files(tmp_path: Path) -> None:
    records = [
        TrialRecord("00000", FINISHED, hmean=0.9, confirmed=(0.5, 0.75)),
        TrialRecord("00001", FINISHED, hmean=0.9, confirmed=(0.5,)),
        TrialRecord("00002", FINISHED, hmean=0.95),
    ]
    write_leaderboard(tmp_path, records, [])
    names = ("confirmed_hmean", "confirmed_sd", "confirmed_seeds")
    # The deviations are 1/8, twice; over n - 1 = 1 their squares give 1/32.
    sd = 32**-0.5
    expected = [(0.625, pytest.approx(sd), 2), (0.5, None, 1), (None, None, None)]
    trials = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))["trials"]
    assert [tuple(trial[name] for name in names) for trial in trials] == expected
    assert [trial["confirmed"] for trial in trials] == [[0.5, 0.75], [0.5], []]
    cells = [tuple(row[name] for name in names) for row in read_csv(tmp_path)]
    read = [tuple(float(cell) if cell else None for cell in row) for row in cells]
    assert read == expected
    assert read_leaderboard(tmp_path) == records


def test_json_has_a_line_a_trial_with_rounded_page_scores(tmp_path: Path) -> None:
    third = TrialRecord("00000", FINISHED, {"a": "한"}, hmean=1 / 3, page_hmeans=(1 / 3, 1 / 3))
    write_leaderboard(tmp_path, [third, TrialRecord("00001", FAILED)], ["a"])
    lines = (tmp_path / "leaderboard.json").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if '"state": ' in line]
    assert len(lines) == 2
    assert lines[0].endswith('"page_hmeans": [0.333333, 0.333333]},')
    assert read_leaderboard(tmp_path)[0] == replace(third, page_hmeans=(0.333333, 0.333333))


def test_json_says_what_to_expect_on_new_pages_or_why_not(tmp_path: Path) -> None:
    def said(*pages: float) -> dict[str, object]:
        hmean = sum(pages) / len(pages)
        record = TrialRecord("00000", FINISHED, hmean=hmean, page_hmeans=pages)
        write_leaderboard(tmp_path, [record], [])
        return json.loads((tmp_path / "leaderboard.json").read_text())["new_pages"]

    assert said(0.75, 0.75, 0.75) == {
        **{"trial": "00000", "trials": 1, "pages": 3, "seen": 0.75, "hmean": 0.75},
        **{"low": 0.75, "high": 0.75, "mean_low": 0.75, "mean_high": 0.75},
    }
    assert said(0.75) == {"reason": "trial 00000 has scores of fewer than two pages"}


def test_a_page_without_a_score_is_null_and_read_back_as_nan(tmp_path: Path) -> None:
    pages = (0.5, float("nan"), 0.25)
    write_leaderboard(tmp_path, [TrialRecord("00000", FINISHED, hmean=0.5, page_hmeans=pages)], [])
    text = (tmp_path / "leaderboard.json").read_text(encoding="utf-8")
    assert '"page_hmeans": [0.5, null, 0.25]' in text
    (read,) = read_leaderboard(tmp_path)
    assert read.page_hmeans == pytest.approx(pages, nan_ok=True)
    assert float(read_csv(tmp_path)[0]["hmean_low"]) == 0.25


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    record = TrialRecord("00000", FINISHED, {"a": 1}, hmean=2 / 3, page_hmeans=(1 / 3, 1.0))
    entry = record.to_dict() | {"rank": 1, "hmean_low": 0.4, "hmean_high": 0.9}
    del entry["latency_ms"], entry["confirmed"]
    content = {"metric": "CLEval", "parameters": ["a"], "trials": [entry]}
    (tmp_path / "leaderboard.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    assert read_leaderboard(tmp_path) == [record]


def test_one_more_trial_costs_little(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def trial(number: int, level: float) -> TrialRecord:
        pages = tuple(rng.normal(level, 0.1, 400).tolist())
        mean = sum(pages) / 400
        return TrialRecord(f"{number:05d}", FINISHED, hmean=mean, page_hmeans=pages)

    def worked_out() -> list[int]:
        """Intervals, paired tests and texts of page scores that were not known before."""
        kept = (ranking.interval, comparison.paired_p, leaderboard._page_scores)
        return [function.cache_info().misses for function in kept]

    records = [trial(i, 0.5) for i in range(60)]
    write_leaderboard(tmp_path, records, [])
    for number in (60, 61):  # each the last one: tested against the best, the one before, and none
        before = worked_out()
        records.append(trial(number, 0.4 - number / 1000))
        write_leaderboard(tmp_path, [TrialRecord.from_dict(r.to_dict()) for r in records], [])
        added = [now - then for now, then in zip(worked_out(), before, strict=True)]
        assert added == [1, 3, 1]


def test_nan_becomes_an_empty_cell_and_null(tmp_path: Path) -> None:
    nan = float("nan")
    write_leaderboard(tmp_path, [TrialRecord("1", FAILED, {"a": nan}, hmean=nan)], ["a"])
    assert read_csv(tmp_path)[0]["hmean"] == ""
    assert "NaN" not in (tmp_path / "leaderboard.json").read_text(encoding="utf-8")
    assert read_leaderboard(tmp_path)[0].hmean is None


def test_an_empty_run_has_a_header_only(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, [], ["model.backbone"])
    assert read_csv(tmp_path) == []
    assert read_leaderboard(tmp_path) == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_never_becomes_a_spreadsheet_formula(tmp_path: Path, text: str) -> None:
    record = TrialRecord("1", FAILED, {"model.weights": text}, reason=text)
    write_leaderboard(tmp_path, [record], ["model.weights"])
    row = read_csv(tmp_path)[0]
    expected = "'" + text.replace("\r", "\n")
    assert row["model.weights"] == row["reason"] == expected
    assert read_leaderboard(tmp_path)[0].reason == text


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, [TrialRecord("1", FINISHED, {"a": -1.5}, hmean=0.1)], ["a"])
    assert read_csv(tmp_path)[0]["a"] == "-1.5"


def test_reasons_with_commas_quotes_and_lines_survive_csv(tmp_path: Path) -> None:
    reason = 'a, "b"\nc 한글'
    write_leaderboard(tmp_path, [TrialRecord("1", FAILED, reason=reason)], [])
    assert read_csv(tmp_path)[0]["reason"] == reason


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, [TrialRecord("1", FINISHED, hmean=0.1)], [])
    write_leaderboard(tmp_path, [TrialRecord("2", FINISHED, hmean=0.2)], [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["leaderboard.csv", "leaderboard.json"]
    assert [r.trial for r in read_leaderboard(tmp_path)] == ["2"]


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"leaderboard\.json: cannot be read: No such file"):
        read_leaderboard(tmp_path)
    for text in ("{", "[]", '{"trials": [{"trial": "1"}]}', '{"trials": 5}'):
        (tmp_path / "leaderboard.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"not a leaderboard.*write it again"):
            read_leaderboard(tmp_path)
