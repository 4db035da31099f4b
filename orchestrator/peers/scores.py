"""What a detector scores on pages, at its own settings and at the best ones for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detector.config.sections import flatten
from detector.config.settings import TrainConfig
from detector.data.labels.pages import Page
from detector.inference.augmented import load_average
from detector.inference.detector import Detector
from detector.inference.networks import is_start
from orchestrator.page_parts.scores import swept_on
from orchestrator.peers.beside import Figures, Scored

_SIZES = ("data.longest_side_px", "preprocess.shortest_side_px", "preprocess.test_scale")


def detector_of(checkpoint: Path, like: TrainConfig) -> tuple[Detector, TrainConfig]:
    """The detector of a `best/` folder, an ensemble, an ONNX file or a published name.

    One that is known by its name alone has no size of pages; it gets that of `like`. InputError
    where it cannot be loaded.
    """
    if not is_start(checkpoint):
        return load_average([checkpoint])
    known = flatten(like.model_dump())
    return load_average([checkpoint], {key: known[key] for key in _SIZES})


def score(detector: Detector, config: TrainConfig, pages: Sequence[Page]) -> Scored:
    """Score a detector on pages; JobError when fewer than two could be scored."""
    swept, fitted = swept_on(detector, config, pages)
    as_it_is, chosen = swept.scores(0), swept.scores(swept.best())
    figures = Figures(as_it_is.hmean, as_it_is.iou_hmean, fitted.hmean, chosen.iou_hmean)
    return Scored(figures, fitted.page_hmeans)
