from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from detector.errors import InputError
from orchestrator.leaderboard import (
    best,
    ranked,
    read_leaderboard,
    write_leaderboard,
)
from orchestrator.records import TrialRecord, TrialState

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


def test_best_is_a_finished_trial(records: list[TrialRecord]) -> None:
    found = best(records)
    assert found is not None
    assert found.trial == "00004"


def test_best_falls_back_to_any_score_and_to_none(records: list[TrialRecord]) -> None:
    unfinished = [r for r in records if r.state is not FINISHED]
    found = best(unfinished)
    assert found is not None
    assert found.trial == "00003"
    assert best([records[0], records[5]]) is None
    assert best([]) is None


def test_ties_go_to_iou_and_then_to_the_earlier_trial() -> None:
    a = TrialRecord("00002", FINISHED, hmean=0.9, iou_hmean=0.5)
    b = TrialRecord("00001", FINISHED, hmean=0.9, iou_hmean=0.5)
    c = TrialRecord("00003", FINISHED, hmean=0.9, iou_hmean=0.6)
    assert [r.trial for r in ranked([a, b, c])] == ["00003", "00001", "00002"]


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
        "epochs,seconds,params_m,optimizer.lr,tuned_hmean,crossfit_hmean,reason"
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
    }
    assert rows[-1]["reason"] == "JobError: loss is nan"


def test_records_are_read_back_in_order(tmp_path: Path, records: list[TrialRecord]) -> None:
    write_leaderboard(tmp_path, records, ["optimizer.lr"])
    assert read_leaderboard(tmp_path) == ranked(records)
    content = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))
    assert content["parameters"] == ["optimizer.lr"]
    assert "CLEval" in content["metric"]
    assert [t["rank"] for t in content["trials"]][:3] == [1, 2, None]


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
