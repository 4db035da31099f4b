"""A detector scored on a split: CLEval in both dialects and IoU."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from detector.config.cli import log
from detector.config.inference import GivenData
from detector.config.input import LabelsConfig
from detector.core.errors import JobError
from detector.core.files import content_digest
from detector.data.crops.whole_pages import in_batches, whole_pages
from detector.data.labels.annotations import Page, read_split, require_words
from detector.data.labels.pages import LabelRules
from detector.data.page.cache import PageCache
from detector.data.page.pdf import file_of
from detector.data.page.preprocess import Preprocess
from detector.inference.detector import Detector
from detector.metrics.scores import Scores, Scoring
from detector.postprocess.maps import PageMap, PageMaps, has_maps, writing_maps
from detector.postprocess.polygons import Detections

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
    tighter: Sequence[float] = (),
) -> Scoring:
    """What `evaluate` scores, before it is scored: parts of a split can be merged.

    tighter: IoU at which boxes are matched as well (see `Scoring`).
    """
    scoring = Scoring(tighter)
    for index, found_map in page_maps(detector, pages, workers=workers, skip=scoring.skip):
        page = pages[index]
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
    """`collect`, with every map written to `folder` on the way (see `detector.postprocess.maps`).

    A full disk costs the maps, never the scores: what went wrong then is the second result.
    """
    with writing_maps(folder, identity=identity) as writer:

        def keep(page: Page, page_map: PageMap, found: Detections) -> None:
            writer.add(page_map)
            if on_page is not None:
                on_page(page, page_map, found)

        scoring = collect(detector, pages, workers=workers, on_page=keep)
    return scoring, writer.failure


@contextmanager
def kept_maps(
    detector: Detector,
    pages: Sequence[Page],
    folder: Path | None,
    *,
    made_by: str = "",
    workers: int = 0,
) -> Iterator[PageMaps]:
    """The maps of pages: those that `folder` holds, else new ones, kept there; None keeps none.

    `made_by` names the network. InputError when the folder has maps of another one, of other
    preprocessing or pages; JobError when new ones cannot be kept.
    """
    files = [(p.name, p.width, p.height, file_of(p.path).stat().st_size) for p in pages]
    about = [made_by, detector.preprocess.to_dict(), detector.scales, str(detector.amp), files]
    identity = content_digest(json.dumps(about).encode())
    with tempfile.TemporaryDirectory(prefix="probability-maps-") as temporary:
        place = folder or Path(temporary)
        if not has_maps(place):
            log(f"computing the probability maps of {len(pages)} pages")
            scoring, failure = collect_keeping_maps(
                detector, pages, place, identity=identity, workers=workers
            )
            if failure is not None:
                raise failure
            for message in scoring.result().skipped:
                log(f"skipped: {message}")
        yield PageMaps(place, identity=identity)


def page_maps(
    detector: Detector,
    pages: Sequence[Page],
    *,
    workers: int = 0,
    skip: Callable[[str], None],
    at_once: int = 1,
    cache: PageCache | None = None,
) -> Iterator[tuple[int, PageMap]]:
    """The index of each readable page and its map; `skip` is told why others are missing.

    Up to `at_once` pages that the network sees in one shape go through it together, so that they
    come in the order of their shapes then, else in their own. `cache` keeps prepared pages.
    """
    batches = in_batches(range(len(pages)), 1)
    if at_once > 1:
        batches = _alike([(page.width, page.height) for page in pages], detector.reading, at_once)
    paths = [page.path for page in pages]
    for items in whole_pages(
        paths, detector.reading, workers=workers, batches=batches, cache=cache
    ):
        for item in items:
            if item.page is None:
                skip(item.error)
        read = [(item.index, item.page) for item in items if item.page is not None]
        names = [pages[index].name for index, _ in read]
        maps = detector.maps_of([page for _, page in read], names)
        yield from zip((index for index, _ in read), maps, strict=True)


def _alike(
    sizes: Sequence[tuple[int, int]], preprocess: Preprocess, at_once: int
) -> list[Sequence[int]]:
    """Indices of pages in batches of at most that many, whose padded images are of one shape."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for index, (width, height) in enumerate(sizes):
        shapes.setdefault(preprocess.padded(width, height), []).append(index)
    return [batch for _, found in sorted(shapes.items()) for batch in in_batches(found, at_once)]


class EvaluateData(LabelsConfig, GivenData):
    root: Path = Field(description="dataset folder, with labels in any known format")
    split: str = Field("val", description="split to score on")
    pages: int | None = Field(
        None, ge=1, description="use this many pages, evenly spaced; null = all"
    )
    workers: int = Field(0, ge=0, le=64, description="loader processes")


def labelled_pages(data: EvaluateData) -> Sequence[Page]:
    """The usable pages of a split, its faults told on stderr; InputError without words."""
    rules = LabelRules(**data.rules())
    split = read_split(data.root, data.split, limit=data.pages, exclude=data.exclude, rules=rules)
    require_words(split, data.root)
    for fault in split.faults:
        log(f"{fault.file} {fault.word or ''}: {fault.message}")
    return split.pages
