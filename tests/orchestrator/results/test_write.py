from __future__ import annotations

from pathlib import Path

from orchestrator.results.write import copy_best, write_results
from orchestrator.trials.records import TrialRecord, TrialState


def record(trial: str, state: TrialState, hmean: float | None, **values: object) -> TrialRecord:
    return TrialRecord(trial, state, {"optimizer.lr": 0.0012345}, hmean, **values)  # type: ignore[arg-type]


def test_best_is_replaced_whole_and_leaves_nothing_behind(tmp_path: Path):
    for name, text in (("a", "first"), ("b", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(text)
        copy_best(tmp_path / name, tmp_path / "best")
        assert (tmp_path / "best" / "model.safetensors").read_text() == text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "best"]


def test_results_follow_the_best_trial(tmp_path: Path):
    for name in ("00000", "00001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text(name)
    worse = record("00000", TrialState.FINISHED, 0.8, checkpoint="00000")
    better = record("00001", TrialState.FINISHED, 0.9, checkpoint="00001")
    write_results(tmp_path, [worse], ["optimizer.lr"])
    assert (tmp_path / "best" / "model.safetensors").read_text() == "00000"
    write_results(tmp_path, [worse, better], ["optimizer.lr"])
    assert (tmp_path / "best" / "model.safetensors").read_text() == "00001"
    assert (tmp_path / "leaderboard.csv").read_text().splitlines()[1].startswith("1,00001,finished")
