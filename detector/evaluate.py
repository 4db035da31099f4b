"""Score a detector on a split: CLEval in both dialects and IoU. Also the evaluate command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from torch.utils.data import DataLoader

from detector.cli import log, run
from detector.config import Section, TrainConfig, with_values
from detector.data.annotations import Page, read_split, require_words
from detector.data.dataset import EvaluationPages, init_worker
from detector.errors import JobError
from detector.inference import Detector, covered, load_detector
from detector.metrics.cleval import CLEval
from detector.metrics.iou import IoU
from detector.postprocess import Detections

METRICS = (
    "hmean",
    "precision",
    "recall",
    "hmean_pooled",
    "iou_hmean",
    "iou_precision",
    "iou_recall",
)


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1] over the pages of a split.

    `hmean`, `precision` and `recall` are the ranking metric: CLEval's competition dialect,
    averaged over pages. `hmean_pooled` is the official CLEval, its counts summed over the
    split. The `iou_*` scores match boxes at IoU 0.5, since CLEval hardly sees how tight a
    box is. `page_hmeans` maps a page to its competition H-mean.
    """

    hmean: float
    precision: float
    recall: float
    hmean_pooled: float
    iou_hmean: float
    iou_precision: float
    iou_recall: float
    pages: int
    skipped: tuple[str, ...]
    page_hmeans: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """The figures alone, by name."""
        return {name: float(getattr(self, name)) for name in METRICS}


def evaluate(
    detector: Detector,
    pages: Sequence[Page],
    *,
    workers: int = 0,
    on_page: Callable[[Page, Any, Detections], None] | None = None,
) -> Scores:
    """Score `detector` on labelled pages, one whole page at a time.

    `on_page` is called with the page, its probability map and its detections. Pages whose
    image cannot be read are named in `skipped` and left out of every score; JobError when
    no page is left or a score is not finite.
    """
    competition, official, iou = CLEval("competition"), CLEval("official"), IoU()
    skipped: list[str] = []
    samples = EvaluationPages(pages, detector.preprocess)
    loader = DataLoader(samples, batch_size=None, num_workers=workers, worker_init_fn=init_worker)
    for sample in loader:
        page = pages[int(sample.index)]
        if sample.error is not None:
            skipped.append(sample.error)
            continue
        affine = np.asarray(sample.affine)
        size = (page.width, page.height)
        probability = detector.probability(sample.image, size=covered(affine, size))
        found = detector.locate(probability, affine, size=size)
        truth = [word.points for word in page.words]
        texts = [word.text for word in page.words]
        ignore = [word.ignore for word in page.words]
        for metric in (competition, official):
            metric.add(page.name, truth, texts, ignore, found.polygons)
        iou.add(page.name, truth, ignore, found.polygons)
        if on_page is not None:
            on_page(page, probability, found)
    if len(skipped) == len(pages):
        raise JobError("no page of the split could be read:\n" + "\n".join(skipped[:5]))
    mean, pooled, overlap = competition.result(), official.result(), iou.result()
    scores = Scores(
        hmean=mean.hmean,
        precision=mean.precision,
        recall=mean.recall,
        hmean_pooled=pooled.hmean,
        iou_hmean=overlap.hmean,
        iou_precision=overlap.precision,
        iou_recall=overlap.recall,
        pages=len(pages) - len(skipped),
        skipped=tuple(skipped),
        page_hmeans={name: float(row[2]) for name, row in mean.pages.items()},
    )
    if not np.isfinite(list(scores.metrics().values())).all():
        raise JobError(f"a score is not finite: {scores.metrics()}")
    return scores


class EvaluateData(Section):
    root: Path = Field(description="dataset folder (images/ and jsons/ inside)")
    split: str = Field("val", description="split to score on")
    pages: int | None = Field(
        None, ge=1, description="use this many pages, evenly spaced; null = all"
    )
    workers: int = Field(0, ge=0, le=64, description="loader processes")


class EvaluateSettings(Section):
    checkpoint: Path = Field(description="best/ folder of a training or a search")
    data: EvaluateData
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto", description="mixed precision")
    postprocess: dict[str, Any] = Field(
        {}, description="replaces what is stored, key by key: postprocess.box_thresh=0.4"
    )
    per_page: bool = Field(False, description="add the H-mean of every page to the JSON")


def override_postprocess(
    detector: Detector, values: dict[str, Any], config: TrainConfig
) -> Detector:
    """The detector with some post-processing settings replaced, checked like any setting."""
    changed = with_values(config, {f"postprocess.{k}": v for k, v in values.items()})
    return replace(detector, postprocess=changed.postprocess)


def main(settings: EvaluateSettings) -> int:
    detector, config = load_detector(settings.checkpoint, device=settings.device, amp=settings.amp)
    detector = override_postprocess(detector, settings.postprocess, config)
    split = read_split(settings.data.root, settings.data.split, limit=settings.data.pages)
    require_words(split, settings.data.root)
    for fault in split.faults:
        log(f"{fault.file} {fault.word or ''}: {fault.message}")
    scores = evaluate(detector, split.pages, workers=settings.data.workers)
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
