"""What a training does after an epoch: score the pages, keep the figures, tell them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detector.data.annotations import Page
from detector.evaluate import collect, collect_keeping_maps
from detector.inference import Detector
from detector.maps import PageMap, PageMaps
from detector.monitor import Monitor
from detector.postprocess import Detections
from detector.sweep import quick_figures

STALE = "stale_validations"  # since the best one
PICTURES = 2  # pages shown in TensorBoard, the same ones every epoch
_SWEPT = ("tuned_", "crossfit_")  # prefixes of what the post-processing sweep found


@dataclass(frozen=True)
class Validated:
    """The figures of a validation by name, and the H-mean of every page."""

    figures: dict[str, float]
    page_hmeans: dict[str, float]


def validate(
    detector: Detector,
    pages: Sequence[Page],
    *,
    epoch: int,
    monitor: Monitor,
    maps: Path | None,
    workers: int,
    log: Callable[[str], None],
) -> Validated:
    """Score `detector` as configured and, with a folder for `maps`, at settings around that.

    The folder holds the probability maps while they are swept. A disk too full for them is
    logged and costs only the figures of the sweep. Raises JobError as `evaluate` does.
    """
    shown = {page.name for page in pages[:PICTURES]}

    def show(page: Page, page_map: PageMap, found: Detections) -> None:
        if page.name in shown:
            monitor.page(page, page_map.probability, found, epoch)

    tuned: dict[str, float] = {}
    if maps is None:
        scores = collect(detector, pages, workers=workers, on_page=show).result()
    else:
        scoring, failure = collect_keeping_maps(
            detector, pages, maps, workers=workers, on_page=show
        )
        scores = scoring.result()
        if failure is None:
            tuned = quick_figures(PageMaps(maps), pages, detector.postprocess)
        else:
            log(f"epoch {epoch}: no post-processing sweep: {failure}")
        shutil.rmtree(maps, ignore_errors=True)
    for message in scores.skipped:
        log(f"skipped: {message}")
    return Validated(scores.metrics() | tuned, scores.page_hmeans)


def record(metrics: dict[str, float], scores: Validated, epoch: int) -> bool:
    """Put a validation into the figures of a training; True when it is the best so far.

    The best epoch is the one with the highest H-mean at the configured settings; its figures
    are kept as `best_*`.
    """
    best = scores.figures["hmean"] > metrics.get("best_hmean", -1.0)
    # An epoch that was not swept must not show what an earlier sweep found.
    stale = _SWEPT + (tuple(f"best_{prefix}" for prefix in _SWEPT) if best else ())
    for name in [name for name in metrics if name.startswith(stale)]:
        del metrics[name]
    metrics |= scores.figures
    metrics[STALE] = 0 if best else metrics.get(STALE, 0) + 1
    if best:
        metrics |= {f"best_{name}": value for name, value in scores.figures.items()}
        metrics["best_epoch"] = epoch
    return best


def curves(metrics: dict[str, float]) -> dict[str, float]:
    """The figures worth a TensorBoard curve, grouped by what they are."""
    cleval = ("hmean", "precision", "recall", "hmean_pooled", "tuned_hmean", "crossfit_hmean")
    overlap = ("iou_hmean", "iou_precision", "iou_recall")
    found = {k: v for k, v in metrics.items() if k.startswith("loss/")}
    found |= {f"cleval/{k}": metrics[k] for k in cleval if k in metrics}
    found |= {f"iou/{k.removeprefix('iou_')}": metrics[k] for k in overlap if k in metrics}
    return found | {"train/lr": metrics["lr"], "train/seconds": metrics["seconds"]}


def epoch_line(metrics: dict[str, float], epoch: int, epochs: int, scores: Validated | None) -> str:
    """An epoch as one line for people; without `scores` it was not validated."""
    line = f"epoch {epoch}/{epochs}  loss {metrics['loss/total']:.3f}"
    if scores is not None:
        line += f"  H-mean {metrics['hmean']:.4f}  IoU H-mean {metrics['iou_hmean']:.4f}"
        if "tuned_hmean" in metrics:
            line += f"  tuned {metrics['tuned_hmean']:.4f}"
        line += f"  best {metrics['best_hmean']:.4f}"
    return f"{line}  {metrics['seconds']:.0f} s"
