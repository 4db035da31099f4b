"""All training pages scored in turn after small searches, by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cut_off import noting_trial
from made_run import Made
from optuna.trial import TrialState

from detector.core.errors import InputError, JobError
from detector.inference.checkpoint import read_best
from orchestrator import search
from orchestrator.folds import FoldsSettings, main
from orchestrator.page_parts.folds import FILE
from orchestrator.place.interruption import INTERRUPTED
from orchestrator.run.run_folder import CONFIG
from orchestrator.run.trial_data import training_pages, validation_pages

SPACE = """\
description: a space for tests
fixed: {optimizer.lr: 5.0e-3, optimizer.ema_decay: 0.9, train.device: cpu,
  sweep.box_thresh: [0.2, 0.3]}
parameters:
  loss.negative_ratio: {uniform: [1.0, 8.0]}
warm_start:
  - {loss.negative_ratio: 3.0}
budget: {trials: 1, epochs: 2, grace_epochs: 2, reduction_factor: 2}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_dataset: Callable[..., Path]) -> Path:
    """A dataset whose pages nobody has dealt between training and validation."""
    return make_dataset(tmp_path_factory.mktemp("data"), split="train", pages=9)


@pytest.fixture
def run(
    data: Path, tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a run that has validated on the first third of the pages."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)
    given = [f"{key}={value}" for key, value in tiny_settings.items()]
    own = ["space=tiny.yaml", "name=r", f"data.root={data}", "resources.gpus_per_trial=0"]
    assert search.main([*own, *given, "data.val_split=train@1/3"]) == 0
    return tmp_path / "runs/r"


@pytest.mark.usefixtures("ray_cluster")
def test_each_part_is_left_out_once_and_all_are_told_together(run, capfd):
    capfd.readouterr()
    assert main(FoldsSettings(run=run, folds=3)) == 0
    out, err = capfd.readouterr()
    assert "cost: 2 of 2 trainings are to do with the settings of trial 00000" in err
    places = sorted(path.parent for path in run.glob("trials/*/folds/*/checkpoint"))
    assert [place.name for place in places] == ["2-of-3", "3-of-3"]  # the first has chosen
    for place in places:
        data = read_best(place)[1].data
        scored, trained = (
            {p.name for p in pages(data)} for pages in (validation_pages, training_pages)
        )
        assert (len(scored), len(trained)) == (3, 6)
        assert not scored & trained
    scores = json.loads((run / FILE).read_text())["scores"]
    assert [part["pages"] for part in scores["parts"]] == [3, 3]
    assert scores["hmean"] == pytest.approx(sum(part["hmean"] for part in scores["parts"]) / 2)
    assert scores["sentence"] in out
    page = (run / "report.html").read_text()
    assert scores["sentence"] in page
    assert "part 2 of 3" in page
    assert main(FoldsSettings(run=run, folds=3)) == 0  # nothing is trained again
    assert "trainings are to do" not in capfd.readouterr().err
    assert json.loads((run / FILE).read_text())["scores"] == scores


@pytest.mark.usefixtures("ray_cluster")
def test_what_was_cut_off_or_failed_goes_on_where_it_was(run, capfd):
    settings = FoldsSettings(run=run, folds=2)
    capfd.readouterr()
    failing = {"failing": "train@2/2"}
    cut_off = noting_trial("data.val_split", interrupts=True, **failing)
    assert main(settings, trial=cut_off) == INTERRUPTED
    assert f"python -m orchestrator.folds run={run} folds=2" in capfd.readouterr().err
    with pytest.raises(JobError, match=r"said .*\npart 2 of 2: ValueError: these pages cannot be"):
        main(settings, trial=noting_trial("data.val_split", **failing))
    assert list(json.loads((run / FILE).read_text())["trainings"]) == ["trials/00000/folds/1-of-2"]
    capfd.readouterr()
    with pytest.raises(JobError, match="these pages cannot be"):
        main(settings, trial=noting_trial("data.val_split", **failing))
    assert "cost: 1 of 2 trainings are to do" in capfd.readouterr().err


def test_a_run_without_a_whole_training_is_one_message(make_run: Callable[..., Made]):
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    made.add(TrialState.PRUNED, [0.3])
    with pytest.raises(InputError, match="no trial that was trained to the end"):
        main(FoldsSettings(run=made.folder))
