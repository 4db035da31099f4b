"""What a training's best weights score on validation pages, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detector.config.settings import TrainConfig
from detector.core.errors import JobError
from detector.data.labels.pages import Page
from detector.inference.detector import Detector, load_detector
from detector.inference.evaluation import kept_maps
from detector.postprocess.sweep import sweep
from detector.postprocess.sweep_scores import CrossFit, SweepScores
from detector.training.validation.validate import next_tried


@dataclass(frozen=True)
class Scored:
    """hmean: cross-fitted, the mean of `page_hmeans`. iou_hmean: at the settings of all pages."""

    hmean: float
    iou_hmean: float
    page_hmeans: Mapping[str, float]


def scored(best: Path, pages: Sequence[Page]) -> Scored:
    """The scores of the weights in a `best/`, post-processing chosen as after a training.

    Raises JobError when fewer than two pages could be scored.
    """
    swept, fitted = swept_on(*load_detector(best), pages)
    ious = swept.scores(swept.best()).iou_hmean
    return Scored(fitted.hmean, ious, fitted.page_hmeans)


def swept_on(
    detector: Detector, config: TrainConfig, pages: Sequence[Page]
) -> tuple[SweepScores, CrossFit]:
    """A detector at all that a further validation would try, its own settings first.

    Raises JobError when fewer than two pages could be scored.
    """
    with kept_maps(detector, pages, None) as maps:
        swept = sweep(maps, pages, next_tried(config))
    fitted = swept.cross_fit()
    if fitted is None:
        raise JobError(
            "settings are chosen by halves of the validation pages, and fewer than two pages with "
            "words could be read; give a data.root whose pages are there"
        )
    return swept, fitted
