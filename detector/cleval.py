"""`python -m detector.cleval`: score predictions against a ground truth, as JSON on stdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from detector.config.answer import print_answer
from detector.config.cli import log, run
from detector.config.sections import Section
from detector.core.escape import some
from detector.core.files import require_writable
from detector.data.page.images import read_image, write_png
from detector.metrics.cleval import CLEval, Dialect, read_words
from detector.metrics.files import PageShapes, Pair, image_of, read_pair
from detector.metrics.iou import IoU
from detector.metrics.picture import picture_of

CONTEST_MOST_DETECTIONS = 500


class Settings(Section):
    gt: Path = Field(description="ground truth: a file, .zip or folder of labels in any format")
    pred: Path = Field(
        description="predictions: the same, .csv with filename,polygons, or .txt files with "
        "x1,y1,...,x4,y4 or left,top,right,bottom and perhaps a confidence a line"
    )
    dialect: Dialect = Field(
        "competition", description="mean over pages, without texts; or summed counts, with texts"
    )
    blank: Literal["auto", "zero", "skip"] = Field(
        "auto",
        description="pages without words and detections: 0 in the mean, as in the contest, or "
        "left out of it, as in the leaderboard; auto is zero with dialect=competition on the "
        "command line, else skip",
    )
    most_detections: Literal["auto"] | PositiveInt | None = Field(
        "auto",
        description="detections of a page that count, the first ones; null for all; auto is 500 "
        "with dialect=competition on the command line, as in the contest, else all",
    )
    draw: Path | None = Field(
        None, description="write a picture of each page, with what was counted, to this folder"
    )
    images: Path | None = Field(
        None,
        description="folder with the pages' images, to draw on, and for the size of what is given "
        "in shares of it; null draws on white",
    )
    iou_threshold: float = Field(
        0.5, ge=0, lt=1, description="overlap above which a whole box counts as found"
    )


def main(settings: Settings) -> None:
    """Print the scores; pages that could not be compared are named on stderr."""
    print_answer(score_files(settings))


def score_files(settings: Settings) -> dict[str, Any]:
    """The command's JSON object. Raises InputError for files that cannot be scored."""
    require_writable("draw", settings.draw, folder=True)
    pair = read_pair(settings.gt, settings.pred, settings.images)
    labelled = {name: page for name, page in pair.truth.items() if page.labelled}
    unlabelled = [name for name in pair.truth if name not in labelled]
    detections = {name: page.polygons for name, page in pair.found.items()}
    most = _most_detections(settings)
    cut = [name for name, polygons in detections.items() if most and len(polygons) > most]
    _tell(settings, pair, unlabelled)
    _note(cut, f"have more than {most} detections in {settings.pred}, the first of which count")
    cleval = CLEval(settings.dialect, blank=_blank(settings))
    iou = IoU(settings.iou_threshold)
    for name, page in labelled.items():
        polygons = detections.get(name, [])[:most]
        words = read_words(settings.dialect, page.polygons, page.texts, page.ignore)
        match = words.match(polygons)
        cleval.add_counts(name, match.counts()[0])
        iou.add(name, page.polygons, page.ignore, polygons)
        if settings.draw is not None:
            photo = None if settings.images is None else _photo(settings.images, name, page)
            write_png(settings.draw / f"{Path(name).stem}.png", picture_of(match, polygons, photo))
    scores, boxes = cleval.result(), iou.result()
    return {
        "dialect": settings.dialect,
        "recall": scores.recall,
        "precision": scores.precision,
        "hmean": scores.hmean,
        "iou_recall": boxes.recall,
        "iou_precision": boxes.precision,
        "iou_hmean": boxes.hmean,
        "iou_threshold": settings.iou_threshold,
        "pages": len(labelled),
        "missing_pages": len(pair.missing),
        "extra_pages": len(pair.extra),
        "unlabelled_pages": len(unlabelled),
        "cut_pages": len(cut),
        "blank_pages": scores.blank_pages,
        "words": scores.counts.words,
        "ignored_words": scores.counts.ignored_words,
        "excluded_words": scores.counts.excluded_words,
        "detections": scores.counts.detections,
        "ignored_detections": scores.counts.ignored_detections,
    }


def _blank(settings: Settings) -> Literal["zero", "skip"]:
    """The contest's rule for whoever asks for its dialect by name, else the leaderboard's."""
    if settings.blank != "auto":
        return settings.blank
    asked = "dialect" in settings.model_fields_set and settings.dialect == "competition"
    return "zero" if asked else "skip"


def _photo(folder: Path, name: str, page: PageShapes) -> NDArray[np.uint8]:
    return read_image(image_of((name, *page.names), folder) or folder / name)


def _most_detections(settings: Settings) -> int | None:
    """The contest's rule for whoever asks for its dialect by name, else all."""
    if settings.most_detections != "auto":
        return settings.most_detections
    asked = "dialect" in settings.model_fields_set and settings.dialect == "competition"
    return CONTEST_MOST_DETECTIONS if asked else None


def _tell(settings: Settings, pair: Pair, unlabelled: list[str]) -> None:
    """Say what of the files counts otherwise than it may seem."""
    for path, pages in ((settings.gt, pair.truth), (settings.pred, pair.found)):
        for message, count in sum((p.notes for p in pages.values()), Counter()).items():
            log(f"{path}: {message} ({count} times)")
    _note(pair.missing, f"are missing in {settings.pred} and count as pages without detections")
    _note(pair.extra, f"of {settings.pred} are not in {settings.gt} and are left out")
    _note(unlabelled, f"have no words in {settings.gt} (no empty list either) and are left out")


def _note(names: Sequence[str], what: str) -> None:
    if names:
        log(f"{len(names)} pages {what}: {some(names)}")


if __name__ == "__main__":
    run(
        main,
        Settings,
        program="python -m detector.cleval",
        description="Scores text detections with CLEval (arXiv:2006.06244) and box IoU. "
        "Prints one JSON object.",
    )
