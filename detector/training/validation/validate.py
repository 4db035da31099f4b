"""The maps of a validation's pages, made here and handed to those who score them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from detector.config.postprocess import CHOOSING
from detector.config.settings import PostprocessConfig, TrainConfig
from detector.data.page.cache import PageCache
from detector.inference.detector import Detector
from detector.inference.evaluation import page_maps
from detector.postprocess.edges import further
from detector.postprocess.sweep import around, distinct, grid
from detector.training.validation.figures import Part, Validated, validated
from detector.training.validation.processes import (
    Further,
    PageScorer,
    ScoredPage,
    ScoringProcesses,
    result_of,
)

_AT_ONCE = 4  # pages of one shape that go through the network of a GPU together


def settings_to_score(
    base: PostprocessConfig, tried: Mapping[str, Sequence[Any]] | None
) -> tuple[PostprocessConfig, ...]:
    """`base` and, unless `tried` is None, the settings of a sweep around it.

    Each choice among the regions of `base`, which are found in any case, is there too.
    """
    if tried is None:
        return (base,)
    own = grid(base, {key: values for key, values in tried.items() if key in CHOOSING})
    return distinct((*own, *around(base, tried)))


def next_tried(config: TrainConfig) -> tuple[PostprocessConfig, ...]:
    """What a training with these settings would try in its next validation: they are its choice."""
    base, tried, own = config.postprocess, config.sweep.tried(), config.sweep.own()
    return distinct(
        (*settings_to_score(base, tried), *further(base, tried, base.model_dump(), own))
    )


@dataclass(frozen=True, eq=False)
class Pending:
    """A validation whose maps are made: its pages by index, scored or about to be at `settings`."""

    settings: tuple[PostprocessConfig, ...]
    futures: dict[int, Future[ScoredPage]]
    skipped: list[str]

    def done(self) -> bool:
        """Whether every page is scored."""
        return all(future.done() for future in self.futures.values())

    def part(self) -> Part:
        """What came of it, as soon as all of it is there. Raises what scoring a page raised."""
        pages = [result_of(self.futures[index]) for index in sorted(self.futures)]
        shown = [page.shown for page in pages if page.shown is not None]
        return Part([page.swept for page in pages], shown, self.skipped)


def begin(
    detector: Detector,
    processes: ScoringProcesses,
    *,
    workers: int,
    share: tuple[int, int] = (0, 1),
    cache: PageCache | None = None,
    further: Further = (),
) -> Pending:
    """Make the maps of the pages that `processes` score, and hand each over to them.

    share: (rank, world) of this process among those that share the pages; each takes a run of them.
    workers: loader processes. cache: keeps prepared pages. further: settings beside those of
    `processes`.
    Pages whose image cannot be read are left out, and said to be.
    """
    pages, (rank, world) = processes.scorer.pages, share
    start, end = (len(pages) * i // world for i in (rank, rank + 1))
    pending = Pending((*processes.scorer.settings, *further), {}, [])
    # Pages that are cropped first come in full, which many at once have no memory for.
    alone = detector.device.type == "cpu" or detector.reading.crop_margin is not None
    for index, page_map in page_maps(
        detector,
        pages[start:end],
        workers=workers,
        skip=pending.skipped.append,
        at_once=1 if alone else _AT_ONCE,
        cache=cache,
    ):
        pending.futures[start + index] = processes.submit(start + index, page_map, further)
    return pending


def validate(
    detector: Detector,
    pages: Sequence[Any],
    *,
    workers: int,
    tried: Mapping[str, Sequence[Any]] | None = None,
    choose: bool = False,
) -> Validated:
    """Score `detector` as configured and, over the values `tried`, at settings around that.

    With `choose` the figures of these are what counts (see `choice`). Raises JobError as
    `validated` does.
    """
    settings = settings_to_score(detector.postprocess, tried)
    scoring = ScoringProcesses(PageScorer(pages, settings), 0)
    part = begin(detector, scoring, workers=workers).part()
    return validated(settings, [part], choose=choose)
