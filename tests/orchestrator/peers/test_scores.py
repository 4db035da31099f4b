"""The detector that a name or path means, and its scores at its own settings and at chosen ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import JobError
from detector.data.labels.annotations import read_split
from detector.inference.augmented import load_average
from detector.inference.detector import override
from detector.inference.evaluation import evaluate
from detector.training.trainer import train
from orchestrator.peers.scores import detector_of, score


@pytest.fixture
def best(tiny_settings: dict[str, Any], make_dataset: Callable[..., Path], tmp_path: Path) -> Path:
    root = make_dataset(tmp_path / "data", split="train", pages=4)
    make_dataset(root, split="val", pages=3, seed=1)
    own = {"data.root": root, "train.epochs": 1, "train.device": "cpu", "train.sweep": False}
    own |= {"sweep.box_thresh": [0.2, 0.4]}
    train(with_values(TrainConfig(), tiny_settings | own), tmp_path / "a", log=lambda _: None)
    return tmp_path / "a"


def test_the_first_figures_are_those_of_evaluate_and_the_others_of_a_choice(best: Path) -> None:
    pages = read_split(best.parent / "data", "val").pages
    detector, config = load_average([best])
    found = score(detector, config, pages)
    scores = evaluate(detector, pages)
    figures = found.figures
    assert (figures.hmean, figures.iou_hmean) == pytest.approx((scores.hmean, scores.iou_hmean))
    assert sorted(found.page_hmeans) == sorted(page.name for page in pages)
    mean = sum(found.page_hmeans.values()) / len(pages)
    assert figures.chosen_hmean == pytest.approx(mean)


def test_settings_given_for_use_are_those_of_the_first_figures(best: Path) -> None:
    pages = read_split(best.parent / "data", "val").pages
    detector, config = override(*load_average([best]), {"postprocess.box_thresh": 0.75})
    assert score(detector, config, pages).figures.hmean == evaluate(detector, pages).hmean


def test_one_page_is_too_few_to_choose_by(best: Path) -> None:
    (page, *_) = read_split(best.parent / "data", "val").pages
    with pytest.raises(JobError, match="fewer than two pages with words could be read"):
        score(*load_average([best]), [page])


def test_a_trained_detector_keeps_its_size_of_pages(best: Path) -> None:
    other = with_values(TrainConfig(), {"data.longest_side_px": 512})
    assert detector_of(best, other)[1].data.longest_side_px == 128


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="needs the extra ppocr")
def test_a_published_detector_gets_the_size_of_the_other_one() -> None:
    like = with_values(TrainConfig(), {"data.longest_side_px": 512, "preprocess.test_scale": 1.25})
    detector, config = detector_of(Path("ppocrv6_small"), like)
    assert (config.data.longest_side_px, config.preprocess.test_scale) == (512, 1.25)
    assert detector.preprocess.longest_side_px == 640
