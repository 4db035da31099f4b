"""Score a detector on a split: CLEval in both dialects and IoU. Also the evaluate command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from detector.augmented import DetectorSettings
from detector.cli import log, run
from detector.data.annotations import Page, read_split, require_words
from detector.data.dataset import whole_page_loader
from detector.errors import JobError
from detector.inference import Detector
from detector.maps import PageMap, writing_maps
from detector.postprocess import Detections
from detector.scores import Scores, Scoring
from detector.settings import Section

OnPage = Callable[[Page, PageMap, Detections], None]


def evaluate(
    detector: Detector,
    pages: Sequence[Page],
    *,
    workers: int = 0,
    on_page: OnPage | None = None,
) -> Scores:
    """Score `detector` on labelled pages, one whole page at a time.

    `on_page` is called with the page, its probability map and its detections. Pages whose
    image cannot be read are named in `skipped` and left out of every score; JobError when
    no page is left or a score is not finite.
    """
    return collect(detector, pages, workers=workers, on_page=on_page).result()


def collect(
    detector: Detector,
    pages: Sequence[Page],
    *,
    workers: int = 0,
    on_page: OnPage | None = None,
) -> Scoring:
    """What `evaluate` scores, before it is scored: parts of a split can be merged."""
    scoring = Scoring()
    for page, found_map in _page_maps(detector, pages, workers, scoring.skip):
        found = detector.locate(found_map)
        scoring.add(page, found.polygons)
        if on_page is not None:
            on_page(page, found_map, found)
    return scoring


def collect_keeping_maps(
    detector: Detector,
    pages: Sequence[Page],
    folder: Path,
    *,
    identity: str = "",
    workers: int = 0,
    on_page: OnPage | None = None,
) -> tuple[Scoring, JobError | None]:
    """`collect`, with every map written to `folder` on the way (see `detector.maps`).

    A full disk costs the maps, never the scores: what went wrong then is the second result.
    """
    with writing_maps(folder, identity=identity) as writer:

        def keep(page: Page, page_map: PageMap, found: Detections) -> None:
            writer.add(page_map)
            if on_page is not None:
                on_page(page, page_map, found)

        scoring = collect(detector, pages, workers=workers, on_page=keep)
    return scoring, writer.failure


def _page_maps(
    detector: Detector, pages: Sequence[Page], workers: int, skip: Callable[[str], None]
) -> Iterator[tuple[Page, PageMap]]:
    """Each readable page with its map; `skip` is told why others are missing."""
    paths = [page.path for page in pages]
    for (item,) in whole_page_loader(paths, detector.preprocess, workers=workers):
        page = pages[item.index]
        if item.page is None:
            skip(item.error)
        else:
            yield page, detector.maps_of([item.page], [page.name])[0]


class EvaluateData(Section):
    root: Path = Field(description="dataset folder (images/ and jsons/ inside)")
    split: str = Field("val", description="split to score on")
    pages: int | None = Field(
        None, ge=1, description="use this many pages, evenly spaced; null = all"
    )
    exclude: Path | None = Field(
        None, description="reviewed list of words to leave out (detector.inspect writes one)"
    )
    workers: int = Field(0, ge=0, le=64, description="loader processes")


def labelled_pages(data: EvaluateData) -> Sequence[Page]:
    """The usable pages of a split, its faults told on stderr; InputError without words."""
    split = read_split(data.root, data.split, limit=data.pages, exclude=data.exclude)
    require_words(split, data.root)
    for fault in split.faults:
        log(f"{fault.file} {fault.word or ''}: {fault.message}")
    return split.pages


class EvaluateSettings(DetectorSettings):
    data: EvaluateData
    per_page: bool = Field(False, description="add the H-mean of every page to the JSON")


def main(settings: EvaluateSettings) -> int:
    detector = settings.load()
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
