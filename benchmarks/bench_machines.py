"""What a search makes of machines that differ, beside placement that does not look at them.

`python benchmarks/bench_machines.py [table=benchmarks/trainings.npz] [seeds=20] [first=20]
[small=4] [large=2] [times=4] [grace=1] [factor=3] [stretch=10]` runs searches of this project
through on a clock (`clockwork.py`) over recorded trainings, on a cluster of `small` machines with
a GPU of 8 GB and `large` ones with 80 GB that are `times` as fast. A quarter of the trainings,
those of the larger backbone with attention, take 12 GB. An epoch takes `stretch` times as long as
it did where it was recorded. Three ways to place a job:

- any: the next job takes a machine that is free, by chance, as Ray places what has no labels; a
  training that finds no memory in the first minute is the next job again, until it finds some.
- memory: the next job asks for machines that hold it, and the jobs behind wait until it has one, as
  with a label for each trial.
- fleet: `orchestrator.fleet`, with memory, speed and what is free.

Told are the trials an hour until all are over, how often a job found no memory, and the hours:
means over the seeds; and the ratio of the trials an hour to those of `any` and of `memory` with the
same seed, their median and between what eight of ten lie.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import numpy as np
from clockwork import Plan, report_of, run_of
from numpy.typing import NDArray
from replay import Table, read_table
from timing import run

from orchestrator.compare.decisions import halving_of
from orchestrator.fleet.fleet import Fleet
from orchestrator.place.resources import GpuKind, Machine, TrialResources
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.trials.job import Choose, TrialJob, anywhere

DEFAULTS = {
    "table": str(Path(__file__).with_name("trainings.npz")),
    "seeds": 20,
    "first": 20,
    "small": 4,
    "large": 2,
    "times": 4,
    "grace": 1,
    "factor": 3,
    "stretch": 10,
}
SMALL, LARGE = "8 GB", "80 GB"
LARGEST = {"model.backbone": "tf_efficientnet_lite0", "model.fusion": "scale_channel_spatial"}
OUT_OF_MEMORY_S = 60.0
Find = Callable[[Sequence["Place"], TrialJob], Sequence["Place"]]


@dataclass
class Place:
    """A machine of a kind, of which one trial at a time has the GPU."""

    kind: str
    speed: float
    job: TrialJob | None = None


@dataclass
class Search:
    """A search at work on its clock."""

    table: Table
    spent: NDArray[np.float64]
    jobs: SearchJobs
    places: list[Place]
    clock: float = 0.0
    failed: int = 0
    done: dict[int, int] = field(default_factory=dict)
    again: list[TrialJob] = field(default_factory=list)
    at_work: list[tuple[float, int, Place]] = field(default_factory=list)

    def begin(self, job: TrialJob, place: Place) -> None:
        """A job has a machine."""
        place.job = job
        heapq.heappush(self.at_work, (self.clock + self._lasts(job, place), job.number, place))

    def end(self) -> TrialJob:
        """The next job that is over; its machine is free."""
        self.clock, _, place = heapq.heappop(self.at_work)
        job, place.job = place.job, None
        assert job is not None
        if not fits(job, place.kind):
            self.failed += 1
            self.again.append(job)
            return job
        row, until = self._row(job), job.until or self.table.epochs
        for epoch in range(self.done.get(job.number, 0) + 1, until + 1):
            report = report_of(self.table, row, epoch, float(self.spent[row, :epoch].sum()))
            if epoch < until:
                self.jobs.reported(job, report)
        self.done[job.number] = until
        self.jobs.ended(job, report)
        return job

    def _lasts(self, job: TrialJob, place: Place) -> float:
        if not fits(job, place.kind):
            return OUT_OF_MEMORY_S
        begun, until = self.done.get(job.number, 0), job.until or self.table.epochs
        return float(self.spent[self._row(job), begun:until].sum()) / place.speed

    def _row(self, job: TrialJob) -> int:
        return next(r for r, config in enumerate(self.table.configs) if config == job.params)


def holding_of(params: Mapping[str, Any]) -> list[str]:
    """The kinds of machine that hold a training."""
    return [LARGE] if LARGEST.items() <= params.items() else [SMALL, LARGE]


def fits(job: TrialJob, kind: str) -> bool:
    """Whether a kind of machine holds the training of a job."""
    return kind in holding_of(job.params)


def any_place(free: Sequence[Place], _: TrialJob) -> Sequence[Place]:
    """Whatever is free."""
    return free


def by_memory(free: Sequence[Place], job: TrialJob) -> Sequence[Place]:
    """What holds the job."""
    return [place for place in free if fits(job, place.kind)]


def by_fleet(free: Sequence[Place], job: TrialJob) -> Sequence[Place]:
    """Those of the kind that the job was given."""
    return [place for place in free if place.kind == job.where.kind]


def fleet_of(places: Sequence[Place], times: int) -> Fleet:
    """The fleet of the machines; what holds a training is told by its backbone alone."""
    kinds = {SMALL: GpuKind(8 * 10**9, 1.0, float(times)), LARGE: GpuKind(80 * 10**9, 1.0, 1.0)}

    def holding(params: Any, _: TrialResources) -> list[str]:
        return holding_of(params)

    machines = [Machine(4, 1, place.kind) for place in places]
    resources = TrialResources(4, 1.0, None, kinds=kinds)
    return Fleet(resources, dict, lambda: machines, holding)  # type: ignore[arg-type]


def searched(search: Search, find: Find, fleet: Fleet | None, seed: int) -> Search:
    """A search to its end: a job is taken out of the study when the one before has a machine."""
    choose: Choose = fleet.choose if fleet else anywhere
    chance = random.Random(seed)
    waiting: TrialJob | None = None
    while True:
        while free := [place for place in search.places if place.job is None]:
            if waiting is None:
                waiting = search.again.pop() if search.again else search.jobs.next_job(choose)
            places = find(free, waiting) if waiting else ()
            if waiting is None or not places:
                break
            if fleet:
                fleet.given(waiting)
            search.begin(waiting, chance.choice(places))
            waiting = None
        if not search.at_work:
            return search
        ended = search.end()
        if fleet:
            fleet.ended(ended)


def main(options: dict[str, Any]) -> None:
    path = Path(options["table"])
    table = read_table(path)
    with np.load(path) as file:
        seconds = file["seconds"].astype(float) * options["stretch"]
    spent = np.diff(seconds, axis=1, prepend=0.0)
    trials = len(table.configs)
    plan = Plan(trials, options["grace"], options["factor"], 1)
    found: dict[str, list[Search]] = {"any": [], "memory": [], "fleet": []}
    finders = {"any": any_place, "memory": by_memory, "fleet": by_fleet}
    for seed in range(options["first"], options["first"] + options["seeds"]):
        for name, find in finders.items():
            places = [
                *(Place(SMALL, 1.0) for _ in range(options["small"])),
                *(Place(LARGE, float(options["times"])) for _ in range(options["large"])),
            ]
            made = run_of(table, plan, seed)
            search = Search(table, spent, SearchJobs(made, halving_of(made)), places)
            fleet = fleet_of(places, options["times"]) if name == "fleet" else None
            found[name].append(searched(search, find, fleet, seed))
    print(f"{trials} trials, {options['seeds']} seeds")
    print(
        f"{options['small']} machines of 8 GB, {options['large']} of 80 GB, {options['times']} x\n"
    )
    print("| placement | trials an hour | out of memory | hours |")
    print("|---|---|---|---|")
    for name, searches in found.items():
        print(f"| {name} | {row_of(searches, trials)} |", flush=True)
    for name in ("any", "memory"):
        pairs = zip(found["fleet"], found[name], strict=True)
        ratios = [rate(own, trials) / rate(other, trials) for own, other in pairs]
        print(f"fleet / {name}: {spread(ratios)}")


def rate(search: Search, trials: int) -> float:
    """Trials an hour."""
    return trials / (search.clock / 3600)


def row_of(searches: Sequence[Search], trials: int) -> str:
    """Means over the searches."""
    rates = fmean(rate(search, trials) for search in searches)
    failed = fmean(search.failed for search in searches)
    hours = fmean(search.clock for search in searches) / 3600
    return f"{rates:.2f} | {failed:.1f} | {hours:.2f}"


def spread(ratios: Sequence[float]) -> str:
    """The median, and between what eight of ten lie."""
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    tenths = quantiles(ratios, n=10, method="inclusive")
    return f"{tenths[4]:.2f} ({tenths[0]:.2f} to {tenths[8]:.2f})"


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__)
