"""`python -m detector.evaluate checkpoint=… data.root=…`: a detector's scores on a split."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import Field

from detector.config.cli import run
from detector.config.inference import DetectorSettings
from detector.inference.augmented import load_used
from detector.inference.evaluation import EvaluateData, evaluate, labelled_pages


class EvaluateSettings(DetectorSettings):
    data: EvaluateData
    per_page: bool = Field(False, description="add the H-mean of every page to the JSON")


def main(settings: EvaluateSettings) -> int:
    detector, _ = load_used(settings.checkpoint, settings)
    pages = labelled_pages(settings.data)
    scores = evaluate(detector, pages, workers=settings.data.workers)
    result = asdict(scores)
    if not settings.per_page:
        del result["page_hmeans"]
    result["postprocess"] = detector.postprocess.model_dump()
    print(json.dumps(result, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    run(
        main,
        EvaluateSettings,
        program="python -m detector.evaluate",
        description="Score a trained detector on a labelled split. Prints one JSON object: "
        "CLEval (competition dialect, mean over pages), CLEval pooled (official), and IoU.",
    )
