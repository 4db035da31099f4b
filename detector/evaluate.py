"""`python -m detector.evaluate checkpoint=… data.root=…`: a detector's scores on a split."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import BeforeValidator, Field

from detector.config.answer import print_answer
from detector.config.cli import run
from detector.config.inference import DetectorSettings
from detector.inference.augmented import load_used
from detector.inference.evaluation import EvaluateData, collect, labelled_pages

Thresholds = Annotated[
    tuple[Annotated[float, Field(ge=0, lt=1)], ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
]


class EvaluateSettings(DetectorSettings):
    data: EvaluateData
    per_page: bool = Field(False, description="add the H-mean of every page to the JSON")
    iou_threshold: Thresholds = Field(
        (0.5, 0.7),
        description="overlaps above which a whole box counts as found, as [a,b]; iou_hmean and "
        "its like are those at 0.5 in any case",
    )


def main(settings: EvaluateSettings) -> int:
    detector, _ = load_used(settings.checkpoint, settings)
    pages = labelled_pages(settings.data)
    scoring = collect(
        detector, pages, workers=settings.data.workers, tighter=settings.iou_threshold
    )
    result = asdict(scoring.result())
    if not settings.per_page:
        del result["page_hmeans"]
    result["iou"] = {
        str(threshold): {"hmean": at.hmean, "precision": at.precision, "recall": at.recall}
        for threshold, at in scoring.at_iou().items()
    }
    result["postprocess"] = detector.postprocess.model_dump()
    print_answer(result)
    return 0


if __name__ == "__main__":
    run(
        main,
        EvaluateSettings,
        program="python -m detector.evaluate",
        description="Score a trained detector on a labelled split. Prints one JSON object: "
        "CLEval (competition dialect, mean over pages), CLEval pooled (official), and IoU.",
    )
