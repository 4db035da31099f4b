"""A run of real trainings, averaged by the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_run import Made
from optuna.trial import TrialState

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.augmented import load_average
from detector.inference.checkpoint import read_best, write_config
from detector.inference.evaluation import evaluate
from detector.training.trainer import train
from orchestrator import ensemble
from orchestrator.ensemble import EnsembleSettings, main
from orchestrator.run.run_folder import CONFIG
from orchestrator.run.trial_data import validation_pages

LEARNT = {
    "augment.crop_px": 96,
    "train.epochs": 3,
    "train.threads": 1,
    "train.device": "cpu",
    "optimizer.lr": 5e-3,
    "optimizer.backbone_lr_ratio": 1.0,
    "optimizer.ema_decay": 0.9,
    "postprocess.box_thresh": 0.3,
    "train.sweep": False,
    "sweep.box_thresh": [0.2, 0.4],
}


@pytest.fixture
def run(
    make_run: Callable[..., Made],
    make_dataset: Callable[..., Path],
    tiny_settings: dict[str, Any],
    tmp_path: Path,
) -> Made:
    """Two finished trials, one that is prepared otherwise, one whose weights are gone, and one
    whose words were shrunk otherwise."""
    root = make_dataset(tmp_path / "data", split="train", pages=4)
    make_dataset(root, split="val", pages=4, seed=1)
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    for number, other in enumerate(
        ({"train.seed": 0}, {"train.seed": 1}, {"data.longest_side_px": 96}, None)
    ):
        made.add(TrialState.COMPLETE, [0.9 - number / 10])
        if other is not None:
            values = tiny_settings | LEARNT | {"data.root": root} | other
            folder = made.folder / "trials" / f"{number:05d}_resnet18"
            train(with_values(TrainConfig(), values), folder, log=lambda _: None)
    made.add(TrialState.COMPLETE, [0.5])
    shrunk = made.folder / "trials" / "00004_resnet18"
    shutil.copytree(made.folder / "trials" / "00001_resnet18", shrunk)
    best = shrunk / "checkpoint" / "best"
    write_config(
        best / "config.yaml", with_values(read_best(best)[1], {"targets.shrink_ratio": 0.5})
    )
    made.add(TrialState.PRUNED, [0.3])
    return made


def test_trials_are_averaged_and_kept_as_one_detector(
    run: Made, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    maps = tmp_path / "maps"
    assert main(EnsembleSettings(run=run.folder, scales=[1.25], maps=maps)) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    # Three thresholds, quads grown either way and polygons, two box_thresh; what is stored, whose
    # thresh of 0.3 lies beyond these three, so that it and 0.4 are tried with its growth.
    assert "2 trials, 4 validation pages, 23 settings for each blend" in err
    assert "left out: 1 finished trials, since their words were shrunk otherwise" in err
    assert "left out: 1 finished trials, since their pages are prepared otherwise" in err
    assert "left out: 1 finished trials, since their weights are not in the run folder" in err
    scores = [step["cross_fitted_hmean"] for step in result["steps"]]
    assert scores == sorted(scores)
    assert result["cross_fitted_hmean"] == scores[-1] >= scores[0]
    # What is written gives the scores that were told, but for the order of rounding.
    detector, config = load_average([run.folder / ensemble.FOLDER], device="cpu")
    found = evaluate(detector, validation_pages(config.data))
    assert found.hmean == pytest.approx(result["hmean"], abs=2e-3)
    assert config.postprocess.model_dump() == result["postprocess"]
    assert sorted(p.name for p in maps.iterdir())[:2] == ["00000-1", "00000-1.25"]
    assert main(EnsembleSettings(run=run.folder, scales=[1.25], maps=maps)) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["hmean"] == result["hmean"]


def test_a_limit_that_nothing_keeps_is_one_message(run: Made):
    with pytest.raises(InputError, match=r"ms_per_page=0.001: each of the 2 trials takes longer"):
        main(EnsembleSettings(run=run.folder, ms_per_page=0.001))
    assert not (run.folder / ensemble.FOLDER).exists()


def test_a_folder_of_other_files_is_not_replaced(make_run: Callable[..., Made], tmp_path: Path):
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    with pytest.raises(InputError, match=r"output: .* would be replaced as a whole, and holds no"):
        main(EnsembleSettings(run=made.folder, output=made.folder))
    out = tmp_path / "out"
    with pytest.raises(InputError, match="maps: must lie outside of output"):
        main(EnsembleSettings(run=made.folder, output=out, maps=out / "maps"))
    assert (made.folder / CONFIG).is_file()


def test_a_run_without_weights_is_one_message(make_run: Callable[..., Made]):
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    made.add(TrialState.PRUNED, [0.3])
    with pytest.raises(InputError, match="has no finished trial with weights to average, of 1"):
        main(EnsembleSettings(run=made.folder))
