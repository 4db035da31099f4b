"""The best trial of a run beside other detectors, by the command."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_run import Made
from optuna.trial import TrialState

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.augmented import load_average
from detector.inference.evaluation import evaluate
from detector.training.trainer import train
from orchestrator.beside import BesideSettings, main
from orchestrator.peers.beside import read_beside
from orchestrator.run.run_folder import CONFIG
from orchestrator.run.trial_data import validation_pages

needs_rapidocr = pytest.mark.skipif(
    importlib.util.find_spec("rapidocr") is None, reason="needs the extra ppocr"
)


@pytest.fixture
def run(
    make_run: Callable[..., Made],
    make_dataset: Callable[..., Path],
    tiny_settings: dict[str, Any],
    tmp_path: Path,
) -> Made:
    """A run of two real trainings, whose best has the page scores that its record tells."""
    root = make_dataset(tmp_path / "data", split="train", pages=4)
    make_dataset(root, split="val", pages=4, seed=1)
    made = make_run()
    (made.folder / CONFIG).write_text(json.dumps({"space": "mine", "name": "run"}))
    own = {"data.root": root, "train.epochs": 1, "train.device": "cpu", "train.sweep": False}
    own |= {"sweep.box_thresh": [0.2, 0.4], "optimizer.lr": 5e-3}
    for number, hmeans in enumerate(([0.6, 0.5, 0.6, 0.5], [0.5, 0.5, 0.5, 0.4])):
        made.add(TrialState.COMPLETE, [sum(hmeans) / 4], pages=hmeans)
        folder = made.folder / "trials" / f"{number:05d}_resnet18"
        values = tiny_settings | own | {"train.seed": number}
        train(with_values(TrainConfig(), values), folder, log=lambda _: None)
    return made


def test_the_best_trial_stands_beside_weights_from_elsewhere(run: Made, capsys):
    other = run.folder / "trials/00001_resnet18/checkpoint/best"
    assert main(BesideSettings(run=run.folder, other=other)) == 0
    (found,) = read_beside(run.folder)
    assert (found.trial, found.other, found.pages) == ("00000", str(other), 4)
    for figures, number in ((found.own, 0), (found.others, 1)):
        detector, config = load_average([run.folder / f"trials/{number:05d}_resnet18"])
        scores = evaluate(detector, validation_pages(config.data))
        assert (figures.hmean, figures.iou_hmean) == pytest.approx((scores.hmean, scores.iou_hmean))
    assert found.ahead == pytest.approx(
        found.own.chosen_hmean - found.others.chosen_hmean - found.flattered
    )
    out = capsys.readouterr().out
    assert found.sentence in out
    assert f"{found.others.hmean:>10.4f}{found.others.iou_hmean:>10.4f}" in out
    page = (run.folder / "report.html").read_text()
    assert "Beside other detectors" in page
    assert f"{found.ahead:+.4f} ({found.low:+.4f} to {found.high:+.4f})" in page


@needs_rapidocr
def test_a_published_detector_is_known_by_its_name(run: Made, capsys):
    assert main(BesideSettings(run=run.folder, other=Path("ppocrv6_small"))) == 0
    (found,) = read_beside(run.folder)
    assert found.other == "ppocrv6_small"
    assert "\nppocrv6_small " in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_message(run: Made, make_run: Callable[..., Made]):
    with pytest.raises(InputError, match=r"checkpoint=nowhere: no model\.safetensors there"):
        main(BesideSettings(run=run.folder, other=Path("nowhere")))
    assert read_beside(run.folder) == []
    (made := make_run("empty")).folder.joinpath(CONFIG).write_text(
        json.dumps({"space": "mine", "name": "empty"})
    )
    with pytest.raises(InputError, match=r"run: nothing of .* since no trial has a score"):
        main(BesideSettings(run=made.folder, other=Path("nowhere")))
