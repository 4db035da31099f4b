"""`python -m detector.cleval`: score predictions against a ground truth, as JSON on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from detector.cli import log, run
from detector.config import Section
from detector.metrics.cleval import CLEval, Dialect
from detector.metrics.files import PageShapes, read_pair
from detector.metrics.iou import IoU


class Settings(Section):
    gt: Path = Field(description="ground truth: .json or .csv, or .zip or folder of ICDAR .txt")
    pred: Path = Field(description="predictions, in any of the same layouts")
    dialect: Dialect = Field(
        "competition", description="mean over pages, without texts; or summed counts, with texts"
    )
    iou_threshold: float = Field(
        0.5, ge=0, lt=1, description="overlap above which a whole box counts as found"
    )


def main(settings: Settings) -> None:
    """Print the scores; pages that could not be compared are named on stderr."""
    print(json.dumps(score_files(settings), indent=2))


def score_files(settings: Settings) -> dict[str, Any]:
    """The command's JSON object. Raises InputError for files that cannot be scored."""
    truth, found = read_pair(settings.gt, settings.pred)
    labelled = {name: page for name, page in truth.items() if page.labelled}
    missing = [name for name in labelled if name not in found]
    unlabelled = [name for name in truth if name not in labelled]
    _note(missing, f"are missing in {settings.pred} and count as pages without detections")
    _note(unlabelled, f"have no words in {settings.gt} (no empty list either) and are left out")
    cleval, iou = CLEval(settings.dialect), IoU(settings.iou_threshold)
    for name, page in labelled.items():
        detections = found.get(name, PageShapes()).polygons
        cleval.add(name, page.polygons, page.texts, page.ignore, detections)
        iou.add(name, page.polygons, page.ignore, detections)
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


def _note(names: list[str], what: str) -> None:
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        log(f"{len(names)} pages {what}: {shown}")


if __name__ == "__main__":
    run(
        main,
        Settings,
        program="python -m detector.cleval",
        description="Scores text detections with CLEval (arXiv:2006.06244) and box IoU. "
        "Prints one JSON object.",
    )
