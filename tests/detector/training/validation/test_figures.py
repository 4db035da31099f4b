from __future__ import annotations

from detector.training.monitor import curves
from detector.training.validation.figures import Validated, epoch_line, record

FIGURES = {"hmean": 0.5, "iou_hmean": 0.25, "precision": 0.5, "recall": 0.5, "hmean_pooled": 0.5}
SWEPT = {"tuned_hmean": 0.75, "tuned_thresh": 0.2, "crossfit_hmean": 0.625}


def test_the_best_epoch_keeps_its_own_figures():
    metrics: dict[str, float] = {"loss/total": 3.0}
    assert record(metrics, Validated(FIGURES | SWEPT, {}), 1)
    assert metrics["best_tuned_hmean"] == 0.75
    worse = FIGURES | {"hmean": 0.25}
    assert not record(metrics, Validated(worse | {"tuned_hmean": 0.3}, {}), 2)
    assert (metrics["hmean"], metrics["best_hmean"], metrics["best_epoch"]) == (0.25, 0.5, 1)
    assert (metrics["tuned_hmean"], metrics["best_tuned_hmean"]) == (0.3, 0.75)
    assert "tuned_thresh" not in metrics
    better = FIGURES | {"hmean": 0.625}
    assert record(metrics, Validated(better, {}), 3)
    assert not [name for name in metrics if "tuned" in name or "crossfit" in name]
    assert metrics["loss/total"] == 3.0


def test_curves_and_lines_tell_what_there_is():
    metrics = FIGURES | {"loss/total": 1.5, "lr": 0.1, "seconds": 61.0, "best_hmean": 0.5}
    metrics |= {"skipped": 0}
    assert "sweep/tuned_hmean" not in curves(metrics)
    shown = curves(metrics | SWEPT)
    assert (shown["sweep/tuned_hmean"], shown["sweep/crossfit_hmean"]) == (0.75, 0.625)
    assert shown["iou/hmean"] == 0.25
    line = epoch_line(metrics | SWEPT, 2, 5, Validated(FIGURES, {}))
    assert line == (
        "epoch 2/5  loss 1.500  H-mean 0.5000  IoU H-mean 0.2500  tuned 0.7500  best 0.5000  61 s"
    )
    line = epoch_line(
        metrics | SWEPT | {"configured_hmean": 0.4}, 2, 5, Validated({"configured_hmean": 0.4}, {})
    )
    assert "IoU H-mean 0.2500  configured 0.4000  tuned 0.7500  best" in line
    at_end = Validated(FIGURES, {}, edges={"thresh": 0.1, "box_thresh": 0.2})
    line = epoch_line(metrics | SWEPT, 2, 5, at_end)
    assert "tuned 0.7500 (at an end of what is tried: thresh=0.1, box_thresh=0.2)  best" in line
    assert curves(metrics | {"configured_hmean": 0.4})["sweep/configured_hmean"] == 0.4
    assert epoch_line(metrics, 2, 5, None) == "epoch 2/5  loss 1.500  61 s"
    line = epoch_line(metrics | {"skipped": 2}, 2, 5, None)
    assert line == "epoch 2/5  loss 1.500  skipped pages: 2  61 s"
    assert curves(metrics | {"skipped": 2})["train/skipped"] == 2
    line = epoch_line(metrics | {"waiting": 0.34}, 2, 5, None)
    assert line == "epoch 2/5  loss 1.500  waiting for crops 34%  61 s"
    assert epoch_line(metrics | {"waiting": 0.04}, 2, 5, None) == "epoch 2/5  loss 1.500  61 s"
    assert curves(metrics | {"waiting": 0.04})["train/waiting"] == 0.04
