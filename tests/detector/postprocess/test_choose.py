"""A real training that chooses its post-processing settings while it is scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detector.config.settings import PostprocessConfig, TrainConfig
from detector.core.errors import InputError
from detector.data.labels.annotations import read_split
from detector.inference.checkpoint import read_best
from detector.inference.detector import load_detector
from detector.inference.evaluation import evaluate
from detector.training.epoch_end import EpochReport
from detector.training.reproduction import reproduce
from detector.training.trainer import train

CHOOSING = {
    "train.epochs": 30,
    "train.eval_every": 10,
    "augment.crop_px": 96,
    "optimizer.lr": 8e-3,  # at 5e-3 some processors get to 0.41 H-mean only
    "optimizer.backbone_lr_ratio": 1.0,
    "optimizer.ema_decay": 0.9,
    "postprocess.box_thresh": 0.9,
    "sweep.choose": True,
    "sweep.shape": ["quad", "polygon"],
    "sweep.thresh": None,
    "sweep.box_thresh": [0.2, 0.4, 0.6],
}


def silent(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def chosen(
    tiny: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[EpochReport], list[PostprocessConfig]]:
    """The folder of a training, its reports, and the settings kept with the best weights then."""
    folder = tmp_path_factory.mktemp("chosen") / "run"
    reports: list[EpochReport] = []
    kept: list[PostprocessConfig] = []

    def keep(report: EpochReport) -> None:
        reports.append(report)
        kept.append(read_best(folder)[1].postprocess)

    train(tiny(CHOOSING), folder, report=keep, log=silent)
    return folder, reports, kept


def test_the_best_epoch_is_the_one_with_the_best_cross_fitted_score(chosen):
    _, reports, kept = chosen
    assert [r.epoch for r in reports] == [10, 20, 30]
    fits = [r.swept.cross_fit() for r in reports]
    assert [r.metrics["hmean"] for r in reports] == [fit.hmean for fit in fits]
    assert [r.page_hmeans for r in reports] == [fit.page_hmeans for fit in fits]
    last = reports[-1].metrics
    assert last["best_hmean"] == max(fit.hmean for fit in fits) > 0.5
    best = next(r for r in reports if r.epoch == last["best_epoch"])
    assert last["best_tuned_hmean"] == best.metrics["tuned_hmean"]
    assert last["best_configured_hmean"] == best.swept.scores(0).hmean
    settings = best.swept.settings[best.swept.best()]
    assert kept[-1] == settings != best.swept.settings[0]
    assert dict(best.tuned) == {k: getattr(settings, k) for k in best.tuned}
    assert {"shape", "box_thresh", "unclip"} <= best.tuned.keys()


def test_settings_lie_with_the_weights_they_were_chosen_for(chosen):
    """Each time an epoch is the best so far, its own best settings are written."""
    _, reports, kept = chosen
    for report, settings in zip(reports, kept, strict=True):
        best = next(r for r in reports if r.epoch == report.metrics["best_epoch"])
        assert settings == best.swept.settings[best.swept.best()]


def test_what_was_kept_scores_what_was_reported(chosen, drawn_root: Path):
    folder, reports, _ = chosen
    metrics = reports[-1].metrics
    scores = evaluate(load_detector(folder, device="cpu")[0], read_split(drawn_root, "val").pages)
    assert scores.hmean == metrics["best_tuned_hmean"]
    assert scores.iou_hmean == metrics["best_iou_hmean"]
    assert scores.hmean_pooled == metrics["best_hmean_pooled"]


def test_a_training_repeated_in_parts_chooses_the_same(
    chosen, tiny: Callable[..., TrainConfig], tmp_path: Path
):
    folder, reports, kept = chosen
    train(tiny(CHOOSING), tmp_path, until=20, log=silent)
    again = reproduce(folder, {}, tmp_path, resume=True)
    assert again.verdict.startswith("reproduced: H-mean ")
    for key in again.last.metrics.keys() - {"seconds", "latency_ms"}:
        assert again.last.metrics[key] == reports[-1].metrics[key], key
    (tensors, best), (others, _) = read_best(tmp_path), read_best(folder)
    assert best.postprocess == kept[-1]
    assert all(torch.equal(tensors[name], others[name]) for name in others)


def test_what_is_tried_must_stay_where_it_chooses(
    chosen, tiny: Callable[..., TrainConfig], tmp_path: Path
):
    folder = Path(shutil.copytree(chosen[0], tmp_path / "run"))
    other = {"sweep.box_thresh": [0.2, 0.4]}
    with pytest.raises(InputError, match=r"sweep\.box_thresh: \[0\.2, 0\.4, 0\.6\] when it was"):
        train(tiny(CHOOSING | other), folder, resume=True, log=silent)
    with pytest.raises(InputError, match=r"sweep\.choose: True when it was saved, False now"):
        train(tiny(CHOOSING | {"sweep.choose": False}), folder, resume=True, log=silent)


def test_what_is_tried_may_change_where_it_only_informs(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    train(tiny(), tmp_path, until=1, log=silent)
    changed = {"sweep.shape": ["quad", "polygon"], "sweep.thresh": None, "sweep.box_thresh": 0.2}
    last = train(tiny(changed), tmp_path, resume=True, until=2, log=silent)
    assert {"shape", "box_thresh"} <= last.tuned.keys()
    assert "tuned_thresh" not in last.metrics
    assert read_best(tmp_path)[1].postprocess == PostprocessConfig()


def test_one_page_is_refused_before_anything_is_trained(
    tiny: Callable[..., TrainConfig], tmp_path: Path
):
    config = tiny({"sweep.choose": True, "data.val_pages": 1})
    message = r"sweep\.choose: .* at least 2 are needed, got 1; add pages to the split 'val'"
    with pytest.raises(InputError, match=message):
        train(config, tmp_path / "run", log=silent)
    assert not (tmp_path / "run").exists()
