"""What a training does after an epoch: score the pages, keep the figures, tell them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from detector.core.errors import JobError
from detector.data.labels.annotations import Page
from detector.inference.detector import Detector
from detector.inference.evaluation import collect, collect_keeping_maps
from detector.metrics.scores import Scores, Scoring
from detector.postprocess.maps import PageMap, PageMaps
from detector.postprocess.polygons import Detections
from detector.postprocess.sweep import QUICK_GRID, quick_figures, quick_sweep
from detector.postprocess.sweep_scores import SweepScores
from detector.training.distributed.peers import ALONE, Peers
from detector.training.monitor import Monitor

STALE = "stale_validations"  # since the best one
PICTURES = 2  # pages shown in TensorBoard, the same ones every epoch
_SWEPT = ("tuned_", "crossfit_")  # prefixes of what the post-processing sweep found


@dataclass(frozen=True)
class Validated:
    """The figures of a validation by name, the H-mean of every page, and what was swept.

    tuned: the best of the settings tried, those of them that differ among the tried ones.
    """

    figures: dict[str, float]
    page_hmeans: dict[str, float]
    swept: SweepScores | None = None
    tuned: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Part:
    """What one process found on its pages: scores, the sweep's, and the pages to show.

    `swept` is None without a sweep, and when `failure` says why its maps could not be kept.
    """

    scoring: Scoring
    swept: SweepScores | None
    failure: JobError | None
    shown: list[tuple[Page, PageMap, Detections]]


def validate(
    detector: Detector,
    pages: Sequence[Page],
    *,
    epoch: int,
    monitor: Monitor | None,
    maps: Path | None,
    workers: int,
    log: Callable[[str], None],
    peers: Peers = ALONE,
    tried: Mapping[str, Sequence[Any]] = QUICK_GRID,
    choose: bool = False,
) -> Validated | None:
    """Score `detector` as configured and, with a folder for `maps`, at settings around that.

    The folder holds the probability maps while they are swept over the values `tried`. A disk
    too full for them is logged and costs only the figures of the sweep. With `choose` these
    figures are what counts (see `choice`), and such a disk is a JobError. `peers` share the
    pages; what they found is merged, exactly, in the leading process, and the others get None.
    Raises JobError as `evaluate` does.
    """
    shown = {page.name for page in pages[:PICTURES]}
    start, end = (len(pages) * i // peers.world for i in (peers.rank, peers.rank + 1))
    own = None if maps is None else maps / str(peers.rank)
    part = examine(detector, pages[start:end], shown, maps=own, workers=workers, tried=tried)
    parts = peers.gathered(part)
    if not parts:
        return None
    if maps is not None:
        shutil.rmtree(maps, ignore_errors=True)
    scores = _scores(parts, epoch, monitor)
    for message in scores.skipped:
        log(f"skipped: {message}")
    swept = _swept(parts, epoch, log, needed=choose)
    if choose:
        return choice(swept)
    if swept is None:
        return Validated(scores.metrics(), scores.page_hmeans)
    figures = scores.metrics() | quick_figures(swept)
    return Validated(figures, scores.page_hmeans, swept, swept.tuned())


def choice(swept: SweepScores | None) -> Validated:
    """A validation whose settings are chosen on its own pages.

    H-mean, precision, recall and page H-means are the cross-fitted ones, since a choice flatters
    itself on the pages it was made on. The pooled H-mean and the IoU scores are those at the
    one setting that is best over all pages, which is kept with the weights. `configured_hmean`
    is the H-mean at the setting that the others were tried around. Raises JobError when fewer
    than two pages could be read.
    """
    fitted = None if swept is None else swept.cross_fit()
    if swept is None or fitted is None:
        raise JobError(
            "sweep.choose: post-processing settings are chosen on half of the validation pages "
            "and scored on the others, and fewer than two pages with words could be read; "
            "restore the pages named above, or set sweep.choose=false"
        )
    best = swept.best()
    figures = swept.scores(best).metrics()
    figures |= {"hmean": fitted.hmean, "precision": fitted.precision, "recall": fitted.recall}
    figures |= quick_figures(swept) | {"configured_hmean": swept.scores(0).hmean}
    return Validated(figures, fitted.page_hmeans, swept, swept.tuned())


def _scores(parts: Sequence[Part], epoch: int, monitor: Monitor | None) -> Scores:
    """The scores of all processes' pages; those to show go to the monitor."""
    scoring = Scoring()
    for part in parts:
        scoring.merge(part.scoring)
        for page, page_map, found in part.shown:
            if monitor is not None:
                monitor.page(page, page_map, found, epoch)
    return scoring.result()


def _swept(
    parts: Sequence[Part], epoch: int, log: Callable[[str], None], *, needed: bool
) -> SweepScores | None:
    """The sweep over all processes' pages; None when there is none, or when one failed."""
    failure = next((part.failure for part in parts if part.failure is not None), None)
    if failure is not None:
        if needed:
            raise JobError(f"epoch {epoch}: no settings can be chosen (sweep.choose): {failure}")
        log(f"epoch {epoch}: no post-processing sweep: {failure}")
        return None
    sweeps = [part.swept for part in parts if part.swept is not None]
    return reduce(SweepScores.merged, sweeps) if sweeps else None


def examine(
    detector: Detector,
    pages: Sequence[Page],
    shown: set[str],
    *,
    maps: Path | None,
    workers: int,
    tried: Mapping[str, Sequence[Any]] = QUICK_GRID,
) -> Part:
    """Score some pages, and sweep their maps where there is a folder to keep them."""
    pictures: list[tuple[Page, PageMap, Detections]] = []

    def show(page: Page, page_map: PageMap, found: Detections) -> None:
        if page.name in shown:
            pictures.append((page, page_map, found))

    if maps is None:
        return Part(collect(detector, pages, workers=workers, on_page=show), None, None, pictures)
    scoring, failure = collect_keeping_maps(detector, pages, maps, workers=workers, on_page=show)
    swept = None
    if failure is None and len(kept := PageMaps(maps)):
        swept = quick_sweep(kept, pages, detector.postprocess, tried)
    return Part(scoring, swept, failure, pictures)


def record(metrics: dict[str, float], scores: Validated, epoch: int) -> bool:
    """Put a validation into the figures of a training; True when it is the best so far.

    The best epoch is the one with the highest `hmean`; its figures are kept as `best_*`.
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


def epoch_line(metrics: dict[str, float], epoch: int, epochs: int, scores: Validated | None) -> str:
    """An epoch as one line for people; without `scores` it was not validated."""
    line = f"epoch {epoch}/{epochs}  loss {metrics['loss/total']:.3f}"
    if scores is not None:
        line += f"  H-mean {metrics['hmean']:.4f}  IoU H-mean {metrics['iou_hmean']:.4f}"
        if "configured_hmean" in scores.figures:
            line += f"  configured {metrics['configured_hmean']:.4f}"
        if "tuned_hmean" in metrics:
            line += f"  tuned {metrics['tuned_hmean']:.4f}"
        line += f"  best {metrics['best_hmean']:.4f}"
    if metrics["skipped"]:
        line += f"  skipped pages: {metrics['skipped']:.0f}"
    return f"{line}  {metrics['seconds']:.0f} s"
