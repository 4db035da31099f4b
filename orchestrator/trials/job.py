"""What a worker is given to do, and who is told what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Twin:
    """A trial with the same training that is over.

    source: its folder. epochs: it trained for. best_epoch: whose weights it kept. finished: it was
    not stopped.
    """

    source: Path
    epochs: int
    best_epoch: int
    finished: bool


@dataclass(frozen=True)
class Where:
    """Where a job is to run: on which kind of machine, and with how much of a GPU there.

    None is any kind, and what every job reserves.
    """

    kind: str | None = None
    gpus: float | None = None


ANYWHERE = Where()
# For a trial with these settings, how many wait to begin as it does, or to go on as it does, and
# which of both: where its job can start now; None when it has to wait.
Choose = Callable[[Mapping[str, Any], int, bool], Where | None]


def anywhere(_params: Mapping[str, Any], _waiting: int, _begins: bool) -> Where:
    """All machines are alike, and whoever runs the job waits for room."""
    return ANYWHERE


@dataclass(frozen=True)
class TrialJob:
    """A trial, and how far it is to be trained now.

    folder: outlives a lost worker and a killed driver. until: the epoch to train to before the
    trial is paused; None is the end. twin: a trial whose weights are those of this one, which is
    only scored then. seed: the training's seed in place of the one that the point has. alone: it
    found no memory beside others, and has a machine for itself. values: settings of the training,
    by dotted name, in place of those of the point. where: it is to run.
    """

    number: int
    folder: Path
    params: dict[str, Any]
    until: int | None = None
    twin: Twin | None = None
    seed: int | None = None
    alone: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    where: Where = ANYWHERE

    @property
    def key(self) -> tuple[int, Path]:
        """What no other job has at the same time."""
        return self.number, self.folder


class Listener:
    """Told of a search what the study has already; what it raises ends the search."""

    def step(self) -> None:
        """Called several times a second."""

    def given(self, job: TrialJob) -> None:
        """A worker is looked for."""

    def started(self, job: TrialJob) -> None:
        """A worker has the job."""

    def alive(self, job: TrialJob) -> None:
        """No epoch is over, but the worker is getting on with what comes before one."""

    def reported(self, job: TrialJob, report: Mapping[str, Any]) -> None:
        """An epoch is over; the report is that of the trial."""

    def ended(self, job: TrialJob) -> None:
        """The job is over: its trial has ended, or is paused."""

    def lost(self, job: TrialJob) -> None:
        """The worker was lost; the study says whether its trial has failed or is tried again."""
