"""Processes that score the maps of pages, while the one that made them does something else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import cv2
import torch

from detector.config.settings import PostprocessConfig
from detector.core.errors import JobError
from detector.data.labels.pages import Page
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import Detections, locate
from detector.postprocess.sweep import PageSweeper
from detector.postprocess.sweep_scores import PageSweep

PICTURES = 2  # pages of a split that are shown, the same ones every time
Further = tuple[PostprocessConfig, ...]
_NICE = 10  # whoever loads the crops of the next epoch comes first


@dataclass(frozen=True, eq=False)
class Shown:
    """A page to show: its words, its map, and what was found at the configured settings."""

    page: Page
    page_map: PageMap
    found: Detections


@dataclass(frozen=True, eq=False)
class ScoredPage:
    """What was found out about a page; `shown` for the first ones of a split alone."""

    swept: PageSweep
    shown: Shown | None


class PageScorer:
    """Scores pages of a split, by their index, at `settings`, the first of which is shown, and at
    further ones that may be others each time."""

    def __init__(self, pages: Sequence[Page], settings: Sequence[PostprocessConfig]) -> None:
        self.pages = tuple(pages)
        self.settings = tuple(settings)
        self._further: Further = ()
        self._sweep = PageSweeper(self.settings)

    def __call__(self, index: int, page_map: PageMap, further: Further = ()) -> ScoredPage:
        page = self.pages[index]
        if further != self._further:
            self._further, self._sweep = further, PageSweeper((*self.settings, *further))
        swept = self._sweep(page_map, page)
        if index >= PICTURES:
            return ScoredPage(swept, None)
        return ScoredPage(swept, Shown(page, page_map, locate(page_map, self.settings[0])))


class ScoringProcesses:
    """`count` processes with a PageScorer each, from now on until `close`; 0: this one scores.

    They give way to other processes, and end with this one even when it is killed.
    """

    def __init__(self, scorer: PageScorer, count: int) -> None:
        self.scorer = scorer
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        if count:
            # By the way that torch's loader processes are started; a fork now, before there is
            # more to copy.
            self._pool = ProcessPoolExecutor(
                count, multiprocessing.get_context(), initializer=_begin, initargs=(scorer,)
            )
            self._pool.submit(_nothing)

    def submit(self, index: int, page_map: PageMap, further: Further = ()) -> Future[ScoredPage]:
        """A page's scores, later; a page that cannot be scored is the error of its result."""
        if self._pool is None:
            done: Future[ScoredPage] = Future()
            done.set_result(self.scorer(index, page_map, further))
            return done
        with _explained():
            return self._pool.submit(_score, index, page_map, further)

    def close(self) -> None:
        """End the processes, whatever they have not begun."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def result_of(future: Future[ScoredPage]) -> ScoredPage:
    """What a page gave, as soon as it is there. Raises JobError when its process was killed."""
    with _explained():
        return future.result()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise JobError(
            "a process that scores validation pages was killed, as happens when the memory of the "
            "machine runs out; use a smaller data.workers (0: none of them)"
        ) from error


_scorer: PageScorer


def _begin(scorer: PageScorer) -> None:
    """The first that a scoring process does."""
    global _scorer
    _scorer = scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Threads of a process that was forked are gone, and those who wait for them wait for ever.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with suppress(OSError, AttributeError):
        os.nice(_NICE)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _nothing() -> None:
    """Starts the processes."""


def _score(index: int, page_map: PageMap, further: Further) -> ScoredPage:
    return _scorer(index, page_map, further)
