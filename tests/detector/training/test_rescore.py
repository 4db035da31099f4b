"""Weights that are there already, at other post-processing settings: a real training scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detector.config.settings import with_values
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.inference.checkpoint import read_best
from detector.inference.detector import load_detector
from detector.inference.evaluation import evaluate
from detector.training.rescore import rescore
from detector.training.storage.provenance import read_record

OTHER = {"postprocess.box_thresh": 0.6, "postprocess.shape": "polygon"}


def silent(_: str) -> None:
    return None


@pytest.fixture
def config(trained: Path):
    return read_best(trained)[1]


def test_it_scores_as_a_training_with_these_settings_would(trained, config, tmp_path):
    other = with_values(config, OTHER)
    told = []
    report = rescore(
        other,
        tmp_path / "run",
        source=trained,
        epochs=40,
        best_epoch=30,
        finished=True,
        log=told.append,
    )
    weights, kept = read_best(tmp_path / "run")
    assert kept == other
    assert all(torch.equal(value, weights[k]) for k, value in read_best(trained)[0].items())
    detector, _ = load_detector(tmp_path / "run")
    expected = evaluate(detector, read_split(other.data.root, "val").pages)
    metrics = report.metrics
    assert metrics["hmean"] == metrics["best_hmean"] == expected.hmean
    assert report.page_hmeans == expected.page_hmeans
    assert (report.epoch, metrics["best_epoch"], report.finished) == (40, 30, True)
    assert metrics["params_m"] > 0 < metrics["latency_ms"]
    assert read_record(tmp_path / "run").config == other
    assert read_record(tmp_path / "run").weights == read_record(trained).weights
    assert told[-1].startswith(f"the weights of {trained.name}, trained alike: H-mean")


def test_pages_have_the_size_and_the_tiles_of_its_own(trained, config, tmp_path):
    other = with_values(
        config,
        {"preprocess.test_scale": 0.5, "preprocess.tile_px": 64, "preprocess.tile_overlap_px": 32},
    )
    report = rescore(
        other, tmp_path, source=trained, epochs=4, best_epoch=4, finished=True, log=silent
    )
    assert read_best(tmp_path)[1] == other
    detector, _ = load_detector(tmp_path)
    assert detector.preprocess.longest_side_px == config.data.longest_side_px / 2
    expected = evaluate(detector, read_split(other.data.root, "val").pages)
    whole = evaluate(load_detector(trained)[0], read_split(other.data.root, "val").pages)
    assert report.metrics["hmean"] == expected.hmean != whole.hmean


def test_its_own_sweep_can_choose(trained, config, tmp_path):
    other = with_values(config, {"sweep.choose": True, "sweep.box_thresh": [0.2, 0.3]})
    report = rescore(
        other, tmp_path, source=trained, epochs=4, best_epoch=4, finished=False, log=silent
    )
    assert report.metrics["hmean"] == report.swept.cross_fit().hmean
    assert not report.finished
    settings = report.swept.settings[report.swept.best()]
    assert read_best(tmp_path)[1].postprocess == settings


def test_weights_of_another_training_are_refused(trained, config, tmp_path):
    other = with_values(config, {"loss.negative_ratio": 4.0})
    with pytest.raises(InputError, match=r"was trained otherwise.*\nloss.negative_ratio: 3.0"):
        rescore(other, tmp_path, source=trained, epochs=4, best_epoch=4, finished=True, log=silent)
