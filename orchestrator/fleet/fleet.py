"""Jobs and kinds of machines: each goes to a place that is free, holds it and suits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from detector.config.settings import TrainConfig
from orchestrator.fleet.waiting import is_worth_starting
from orchestrator.place.gpu_kinds import holding_kinds
from orchestrator.place.resources import Machine, TrialResources, slots
from orchestrator.trials.job import ANYWHERE, Listener, TrialJob, Where

Holding = Callable[[TrainConfig, TrialResources], list[str]]


class Fleet(Listener):
    """Chooses where the jobs of a search run, and keeps count of what is free.

    A trial that begins goes to the slowest kind that holds it and has room, since its first rung is
    short; one that goes on to the fastest. Both wait for a faster one where they would be done
    sooner there (see `is_worth_starting`). A job for which no machine is free is passed over, so
    that smaller ones behind it start. Where Ray knows one kind of GPU only, or nothing was
    measured, a job runs anywhere, and Ray waits for room.
    """

    def __init__(
        self,
        resources: TrialResources,
        config_of: Callable[[Mapping[str, Any]], TrainConfig],
        machines: Callable[[], Sequence[Machine]],
        holding: Holding = holding_kinds,
    ) -> None:
        self._resources, self._config_of = resources, config_of
        self._machines, self._holding = machines, holding
        self._given: dict[tuple[int, Any], str] = {}  # kinds of running jobs by the job's key

    def choose(self, params: Mapping[str, Any], waiting: int, begins: bool) -> Where | None:
        """Where a trial with these settings starts now; None when it has to wait.

        waiting: how many trials wait, with itself, to begin or to go on, as `begins` says.
        """
        if len(self._resources.kinds) < 2:
            return ANYWHERE
        present = self._present()
        holding = [kind for kind in self._held(params) if kind in present]
        at_work = Counter(self._given.values())
        free = [kind for kind in holding if present[kind] > at_work[kind]]
        if not free:
            # With nothing at work nobody would ask again, so Ray waits for such a machine.
            return None if self._given else ANYWHERE
        for kind in sorted(free, key=self._seconds, reverse=begins):
            faster = [
                (self._slot_seconds(other), present[other])
                for other in holding
                if self._seconds(other) < self._seconds(kind)
            ]
            if is_worth_starting(self._slot_seconds(kind), faster, waiting):
                return Where(kind, self._resources.gpus_on(kind))
        return None

    def given(self, job: TrialJob) -> None:
        """A job takes its place."""
        if job.where.kind is not None:
            self._given[job.key] = job.where.kind

    def ended(self, job: TrialJob) -> None:
        """Its place is free."""
        self._given.pop(job.key, None)

    lost = ended

    def kinds_for(self, job: TrialJob) -> tuple[list[str], list[str]]:
        """The kinds on one of which a job may run, and all that there are."""
        known = sorted({*self._resources.kinds, *self._present()})
        if job.where.kind is not None:
            return [job.where.kind], known
        own = self._resources.alone if job.alone else self._resources
        return self._held(job.params, own), known

    def _held(
        self, params: Mapping[str, Any], resources: TrialResources | None = None
    ) -> list[str]:
        """The kinds that hold a training; others than measured ones hold what all of these do."""
        kinds = self._resources.kinds
        held = self._holding(self._config_of(params), resources or self._resources)
        if len(held) < len(kinds):
            return held
        return [*held, *(kind for kind in self._present() if kind not in kinds)]

    def _present(self) -> dict[str, int]:
        """How many trials the machines hold that are there now, by kind."""
        found: Counter[str] = Counter()
        for machine in self._machines():
            if machine.gpus:
                gpus = self._resources.gpus_on(machine.kind)
                found[machine.kind] += slots(machine, cpus=self._resources.cpus, gpus=gpus)
        return {kind: count for kind, count in found.items() if count}

    def _seconds(self, kind: str) -> float:
        """Of a step on a GPU of this kind; a kind that was not measured is one in the middle."""
        known = {name: each.seconds for name, each in self._resources.kinds.items()}
        return known.get(kind, median(known.values()))

    def _slot_seconds(self, kind: str) -> float:
        """Of a step where all that may share a GPU are training and wait for each other."""
        return self._seconds(kind) / min(self._resources.gpus_on(kind), 1.0)
