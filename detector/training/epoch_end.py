"""What is done with a trained epoch: scored, kept, told, while the next one is being trained.

Pages are scored and files are written beside the training where `data.workers` gives it processes;
else, as on a CPU by default, at once. What is decided, kept and told is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from detector.config.settings import PostprocessConfig, TrainConfig
from detector.inference.latency import latency_ms
from detector.postprocess.edges import further
from detector.postprocess.sweep import others
from detector.postprocess.sweep_scores import SweepScores
from detector.training.epoch import Job
from detector.training.monitor import Monitor, box_thresh_curve, curves
from detector.training.storage.best import keep_best
from detector.training.storage.generations import LAST, keep_previous
from detector.training.storage.state_file import Snapshot, TrainingState, save_state, snapshot
from detector.training.validation.figures import (
    STALE,
    Validated,
    epoch_line,
    record,
    validated,
)
from detector.training.validation.processes import PageScorer, ScoringProcesses
from detector.training.validation.validate import Pending, begin, settings_to_score

LATENCY = "latency_ms"


@dataclass(frozen=True)
class EpochReport:
    """What a finished and validated epoch gave.

    `epoch` counts from 1. `metrics` holds the figures of this epoch and, as `best_*`, those
    of the best epoch so far. `checkpoint` is a folder complete in itself. `finished` says that
    the training is over: all epochs are done, or patience has run out. `swept` has the scores at
    every post-processing setting tried; None without a sweep, and when nothing was left to train.
    `tuned` has the best of these settings in the last validation, by name in PostprocessConfig:
    those that differ among the tried ones; empty without a sweep.
    """

    epoch: int
    metrics: dict[str, float]
    page_hmeans: dict[str, float]
    checkpoint: Path
    finished: bool
    swept: SweepScores | None = None
    tuned: Mapping[str, Any] = field(default_factory=dict)


def report_of(
    job: Job, state: TrainingState, epoch: int, swept: SweepScores | None = None
) -> EpochReport:
    """The report of an epoch whose figures are the last ones in `state`."""
    return EpochReport(
        epoch=epoch,
        metrics=dict(state.metrics),
        page_hmeans=state.page_hmeans,
        checkpoint=job.folder / "checkpoint",
        finished=is_over(epoch, state.metrics, job.config),
        swept=swept,
        tuned=state.tuned,
    )


def is_validated(epoch: int, config: TrainConfig) -> bool:
    return epoch % config.train.eval_every == 0 or epoch == config.train.epochs


def is_over(epoch: int, metrics: Mapping[str, float], config: TrainConfig) -> bool:
    """Whether nothing is left to train: of what is kept alone, so that a resume agrees."""
    return epoch >= config.train.epochs or out_of_patience(metrics, config)


def out_of_patience(metrics: Mapping[str, float], config: TrainConfig) -> bool:
    patience = config.train.patience
    return patience > 0 and metrics.get(STALE, 0) >= patience


def params_m(model: nn.Module) -> float:
    """Millions of weights."""
    return sum(p.numel() for p in model.parameters()) / 1e6


@contextmanager
def scoring(job: Job) -> Iterator[ScoringProcesses]:
    """As many processes as load crops, to score the validation pages as `job` says."""
    config = job.config
    tried = config.sweep.tried() if config.train.sweep else None
    settings = settings_to_score(job.detector.postprocess, tried)
    processes = ScoringProcesses(PageScorer(job.val_pages, settings), job.loaders)
    try:
        yield processes
    finally:
        processes.close()


def begin_validation(job: Job, state: TrainingState, processes: ScoringProcesses) -> Pending | None:
    """Make this process's share of the maps of the epoch just trained; None without validation."""
    if not is_validated(state.epoch, job.config):
        return None
    peers = job.peers
    peers.same_weights(state.evaluated)
    share, cache = (peers.rank, peers.world), job.samples.cache
    # Of what the leader found last and keeps, so that a resumed training tries the same.
    more = further_settings(job.config, job.detector.postprocess, peers.told(state.tuned))
    more = others(more, processes.scorer.settings)
    return begin(
        job.detector, processes, workers=job.loaders, share=share, cache=cache, further=more
    )


def further_settings(
    config: TrainConfig, base: PostprocessConfig, tuned: Mapping[str, Any]
) -> tuple[PostprocessConfig, ...]:
    """What a sweep tries beside its values, since the best of the last one lay at an end of them.

    tuned: what that one found; empty before the first. Values that were given are not added to.
    """
    if not config.train.sweep or not tuned:
        return ()
    return further(base, config.sweep.tried(), tuned, config.sweep.own())


@dataclass(frozen=True, eq=False)
class _Trained:
    """An epoch that was trained and is not told yet."""

    taken: Snapshot
    figures: dict[str, float]
    pending: Pending | None


class EpochEnds:
    """Ends the epochs of the process that leads, one after the other.

    Args:
        job, state: the training; the figures in `state` are those of the last epoch told.
        processes: that score its pages. Without any, an epoch ends before the next one begins.
        report: is told of every epoch that was validated.
    """

    def __init__(
        self,
        job: Job,
        state: TrainingState,
        *,
        processes: ScoringProcesses,
        monitor: Monitor,
        report: Callable[[EpochReport], None] | None,
    ) -> None:
        self.last = report_of(job, state, state.epoch)
        self.beside = processes.count > 0
        self._job, self._state, self._processes = job, state, processes
        self._monitor, self._report = monitor, report
        self._trained: _Trained | None = None
        # One thread, so that epochs are kept in their order.
        self._thread = ThreadPoolExecutor(1, "epoch-end") if self.beside else None
        # Several processes meet to gather their scores, which only the main thread of each can do.
        self._meets = job.peers.world > 1
        self._kept: Future[Validated | None] | None = None

    def begin(self, figures: Mapping[str, float], started: float) -> None:
        """Make the maps of the epoch that `state` has reached and take what is to be kept of it.

        figures: of its training, which was `started` at that `time.monotonic`.
        """
        job, state = self._job, self._state
        state.seconds += time.monotonic() - started
        new = dict(figures) | {"params_m": params_m(state.model)}
        if LATENCY not in state.metrics and is_validated(state.epoch, job.config):
            # Of the architecture alone; before others are busy with the maps.
            new[LATENCY] = latency_ms(job.detector, job.val_pages)
        started = time.monotonic()
        pending = begin_validation(job, state, self._processes)
        self._tell_skipped(pending.skipped if pending is not None else ())
        state.seconds += time.monotonic() - started
        new["seconds"] = state.seconds
        self.finish()  # of the epoch before, whose files were written beside these maps
        self._trained = _Trained(snapshot(state, copied=self.beside), new, pending)
        if self._thread is not None and not self._meets:
            self._kept = self._thread.submit(self._keep, self._trained)

    def poll(self) -> None:
        """Tell of the epoch before, if all of it is there; to be called as often as one likes."""
        if self._kept is not None and self._kept.done():
            self.finish()

    def decide(self) -> None:
        """Wait for the scores of the epoch before: `state` says then whether it was the last."""
        if self._thread is None or not self._meets:
            self.finish()
        elif self._trained is not None and self._kept is None:
            self._kept = self._thread.submit(
                self._write, self._trained, *self._score(self._trained)
            )

    def finish(self) -> None:
        """Wait for the epoch before and tell of it; nothing when there is none."""
        if self._trained is None:
            return
        if self._thread is not None and self._meets:
            self.decide()
        trained, self._trained = self._trained, None
        if self._kept is not None:
            scores, self._kept = self._kept.result(), None
        else:
            scores = self._keep(trained)
        self._tell(trained, scores)

    def close(self) -> None:
        """Let what has begun in the thread be kept, though not told."""
        if self._thread is not None:
            self._thread.shutdown()

    def _keep(self, trained: _Trained) -> Validated | None:
        """Put an epoch's figures into `state` and write its files; its scores, if it has some."""
        return self._write(trained, *self._score(trained))

    def _score(self, trained: _Trained) -> tuple[Validated | None, bool]:
        """Put an epoch's figures into `state`; its scores, and whether it is the best so far."""
        config, state = self._job.config, self._state
        scores = None
        if trained.pending is not None:
            scores = validated(
                trained.pending.settings,
                self._job.peers.gathered(trained.pending.part()),
                choose=config.sweep.choose,
            )
        best = False
        state.metrics |= trained.figures
        if scores is not None:
            state.tuned, state.page_hmeans = scores.tuned, scores.page_hmeans
            best = record(state.metrics, scores, trained.taken.epoch)
            if best:
                state.curve = box_thresh_curve(scores.swept, trained.taken.epoch)
        return scores, best

    def _write(self, trained: _Trained, scores: Validated | None, best: bool) -> Validated | None:
        """Write an epoch's files; returns its scores."""
        config, state, folder = self._job.config, self._state, self._job.folder
        keep_previous(folder / "checkpoint")
        save_state(folder / "checkpoint" / LAST, state, config, trained.taken)
        if best:
            keep_best(folder, trained.taken.evaluated, state, config)
        return scores

    def _tell_skipped(self, messages: Iterable[str]) -> None:
        for message in messages:
            self._job.log(f"skipped: {message}")

    def _tell(self, trained: _Trained, scores: Validated | None) -> None:
        state, epoch, log = self._state, trained.taken.epoch, self._job.log
        if scores is not None and trained.pending is not None:  # what other processes found
            own = trained.pending.skipped
            self._tell_skipped([text for text in scores.told.skipped if text not in own])
        for shown in scores.told.shown if scores is not None else ():
            self._monitor.page(shown.page, shown.page_map, shown.found, epoch)
        # Between validations there are the scores of an older epoch, which are no points of this.
        points = trained.figures if scores is None else state.metrics
        self._monitor.scalars(curves(points), epoch)
        log(epoch_line(state.metrics, epoch, self._job.config.train.epochs, scores))
        if scores is not None:
            self.last = report_of(self._job, state, epoch, scores.swept)
            if self._report is not None:
                self._report(self.last)
