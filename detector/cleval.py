"""`python -m detector.cleval`: score predictions against a ground truth, as JSON on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from detector.config.cli import log, run
from detector.config.sections import Section
from detector.core.escape import some
from detector.core.files import require_writable
from detector.data.page.images import read_image, write_png
from detector.metrics.cleval import CLEval, Dialect, read_words
from detector.metrics.files import PageShapes, read_pair
from detector.metrics.iou import IoU
from detector.metrics.picture import picture_of


class Settings(Section):
    gt: Path = Field(description="ground truth: .json or .csv, or .zip or folder of ICDAR .txt")
    pred: Path = Field(description="predictions, in any of the same layouts")
    dialect: Dialect = Field(
        "competition", description="mean over pages, without texts; or summed counts, with texts"
    )
    blank: Literal["auto", "zero", "skip"] = Field(
        "auto",
        description="pages without words and detections: 0 in the mean, as in the contest, or "
        "left out of it, as in the leaderboard; auto is zero with dialect=competition on the "
        "command line, else skip",
    )
    draw: Path | None = Field(
        None, description="write a picture of each page, with what was counted, to this folder"
    )
    images: Path | None = Field(
        None, description="folder with the pages' images, to draw on; null draws on white"
    )
    iou_threshold: float = Field(
        0.5, ge=0, lt=1, description="overlap above which a whole box counts as found"
    )


def main(settings: Settings) -> None:
    """Print the scores; pages that could not be compared are named on stderr."""
    print(json.dumps(score_files(settings), indent=2, ensure_ascii=False))


def score_files(settings: Settings) -> dict[str, Any]:
    """The command's JSON object. Raises InputError for files that cannot be scored."""
    require_writable("draw", settings.draw, folder=True)
    truth, found = read_pair(settings.gt, settings.pred)
    labelled = {name: page for name, page in truth.items() if page.labelled}
    missing = [name for name in labelled if name not in found]
    unlabelled = [name for name in truth if name not in labelled]
    _note(missing, f"are missing in {settings.pred} and count as pages without detections")
    _note(unlabelled, f"have no words in {settings.gt} (no empty list either) and are left out")
    cleval = CLEval(settings.dialect, blank=_blank(settings))
    iou = IoU(settings.iou_threshold)
    for name, page in labelled.items():
        detections = found.get(name, PageShapes()).polygons
        words = read_words(settings.dialect, page.polygons, page.texts, page.ignore)
        match = words.match(detections)
        cleval.add_counts(name, match.counts()[0])
        iou.add(name, page.polygons, page.ignore, detections)
        if settings.draw is not None:
            photo = None if settings.images is None else read_image(settings.images / name)
            write_png(
                settings.draw / f"{Path(name).stem}.png", picture_of(match, detections, photo)
            )
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
        "missing_pages": len(missing),
        "unlabelled_pages": len(unlabelled),
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


def _note(names: list[str], what: str) -> None:
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
