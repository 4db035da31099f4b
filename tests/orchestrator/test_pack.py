"""A run packed and read back by the commands."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_run import Made
from optuna.trial import TrialState
from pydantic import ValidationError

from detector.core.errors import InputError
from orchestrator import pack, report, unpack
from orchestrator.pack import PackSettings
from orchestrator.propose.warm_start import points_for
from orchestrator.run.run import stored_run
from orchestrator.run.run_folder import CONFIG
from orchestrator.unpack import UnpackSettings

MARK = "Zebra"  # in everything that must not leave


@pytest.fixture
def run(make_run: Callable[..., Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Two finished trials and a failed one, with a home folder and secrets all over."""
    home = tmp_path / "home" / MARK
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    made = make_run()
    settings: dict[str, Any] = {
        "space": "mine",
        "name": "run",
        "bucket": f"s3://{MARK}-bucket/runs",
        "data": {"root": f"{home}/receipts"},
    }
    (made.folder / CONFIG).write_text(json.dumps(settings))
    made.add(TrialState.COMPLETE, [0.7, 0.9])
    made.add(TrialState.COMPLETE, [0.8], backbone="resnet34")
    made.add(TrialState.FAIL, [], reason=f"PermissionError: {home}/receipts/a.jpg")
    failed = made.folder / "trials" / "00002_resnet18"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text(f"at {home}/x.py\nWANDB_API_KEY={MARK} is wrong\n")
    (failed / "weights.bin").write_text(MARK)
    best = made.folder / "trials" / "00000_resnet18" / "checkpoint" / "best"
    best.mkdir(parents=True)
    (best / "model.safetensors").write_bytes(b"weights" * 100)
    (best / "config.yaml").write_text(f"data: {{root: {home}/receipts}}\n")
    assert report.main(report.ReportSettings(run=made.folder)) == 0
    return made


def packed(run: Made, output: Path, capsys: pytest.CaptureFixture[str], **more: Any) -> Any:
    capsys.readouterr()
    assert pack.main(PackSettings(run=run.folder, output=output, **more)) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_comes_back_with_all_that_is_known_of_it(
    run: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output, back = tmp_path / "first.zip", tmp_path / "elsewhere" / "first"
    told = packed(run, output, capsys)
    assert told["bytes"] == output.stat().st_size
    assert told["left_out"] == ["pages and their pictures", "checkpoints of the trials"]
    assert unpack.main(UnpackSettings(pack=output, output=back)) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"] == "run"
    assert json.loads(out)["trials"] == 3
    assert json.loads(out)["other_versions"] == {}
    assert f"python -m orchestrator.report run={back}" in err
    mine, theirs = stored_run(run.folder), stored_run(back)
    assert [r.hmean for r in theirs.records()] == [r.hmean for r in mine.records()]
    assert [r.params for r in theirs.records()] == [r.params for r in mine.records()]
    assert [r.page_hmeans for r in theirs.records()] == [r.page_hmeans for r in mine.records()]
    assert theirs.space == mine.space
    points, _ = points_for(str(back), mine.space)
    assert [point["model.backbone"] for point in points] == ["resnet18", "resnet34"]
    assert (theirs.config.bucket, theirs.config.storage) == (None, None)
    assert (back / "best" / "model.safetensors").read_bytes() == b"weights" * 100
    table = (run.folder / "leaderboard.csv").read_text()
    assert report.main(report.ReportSettings(run=back)) == 0
    home = str(tmp_path / "home" / MARK)
    assert (back / "leaderboard.csv").read_text() == table.replace(home, "~")
    assert (back / "best" / "model.safetensors").read_bytes() == b"weights" * 100


def test_nothing_of_the_person_or_the_data_leaves(
    run: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "first.zip"
    packed(run, output, capsys)
    with zipfile.ZipFile(output) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, content in contents.items() if MARK.encode() in content]
    assert (
        contents["trials/00002_resnet18/error.txt"]
        == b"at ~/x.py\nWANDB_API_KEY=(removed) is wrong\n"
    )
    assert b"~/receipts" in contents["config.yaml"]
    assert not [name for name in contents if "weights.bin" in name or "checkpoint" in name]


def test_without_weights_it_is_small(run: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    told = packed(run, tmp_path / "small.zip", capsys, weights=False)
    assert "best/model.safetensors" not in told["files"]
    assert "best/config.yaml" in told["files"]
    assert "the weights of best/" in told["left_out"]


def test_a_run_without_results_yet_says_what_is_missing(
    make_run: Callable[..., Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    told = packed(made, tmp_path / "new.zip", capsys)
    assert "leaderboard.csv, which is not there" in told["left_out"]


def test_what_is_no_run_or_no_pack_is_one_message(tmp_path: Path):
    with pytest.raises(InputError, match=r"run: .* is not a run's folder"):
        pack.main(PackSettings(run=tmp_path, output=tmp_path / "a.zip"))
    with pytest.raises(InputError, match=r"pack: .*none\.zip is no file; give one that"):
        unpack.main(UnpackSettings(pack=tmp_path / "none.zip", output=tmp_path / "x"))
    with pytest.raises(ValidationError, match=r"must be the name of a zip file, got a\.tar; add"):
        PackSettings(run=tmp_path, output=Path("a.tar"))
