"""One driver's view of a search as jobs: which come, what they report, how they end."""

from __future__ import annotations

from pathlib import Path

from sessions import make_run

from orchestrator.compare.halving import Halving
from orchestrator.propose.proposals import HMEAN
from orchestrator.propose.search_jobs import SearchJobs
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace
from orchestrator.trials.failure import NOTHING_SHARED, Failure, Kind
from orchestrator.trials.job import TrialJob
from orchestrator.trials.pareto import as_objectives

SPEED = as_objectives(["hmean", "latency_ms"])

UNKNOWN = Failure(Kind.LOST_WORKER, "nothing is known of it")

RATIO, BACKBONE = "loss.negative_ratio", "model.backbone"


def make_space(warm_start=(), trials=4) -> SearchSpace:
    return SearchSpace(
        name="test",
        description="",
        fixed={},
        parameters={
            BACKBONE: Parameter(BACKBONE, "choice", ("resnet18", "resnet34")),
            RATIO: Parameter(RATIO, "uniform", (1.0, 8.0)),
        },
        warm_start=tuple(warm_start),
        budget=Budget(trials=trials, epochs=4, grace_epochs=1, reduction_factor=2),
    )


class Session:
    """One driver's view of a run folder: open, search, and vanish without a goodbye."""

    def __init__(self, folder: Path, *, resume=False, halving=None, space=None, **settings):
        space = space or make_space(settings.get("warm_start", ()), settings.get("trials", 4))
        figures = [figure for figure, _ in settings.get("objectives", HMEAN)]
        seed, search = settings.get("seed", 0), {"objectives": figures}
        run = make_run(folder, space, resume=resume, seed=seed, search=search)
        self.halving, self.study = halving, run.study
        self.jobs = SearchJobs(run, halving, settings.get("sharing", NOTHING_SHARED))
        self.names: dict[str, TrialJob] = {}

    def trial(self, number):
        return self.study.trial(number)

    def states(self):
        return [trial.state.name for trial in self.study.trials]

    def next(self, name):
        """The next job, which is called so from here on."""
        job = self.jobs.next_job()
        if job is not None:
            self.names[name] = job
        return job

    def report(self, name, report):
        self.jobs.reported(self.names[name], report)

    def end(self, name, report=None):
        self.jobs.ended(self.names[name], report or {})

    def lose(self, name, failure=UNKNOWN):
        self.jobs.lost(self.names[name], failure)

    def run(self, name, score):
        """A whole job, with the same score in each of its epochs; returns its number and end."""
        job = self.next(name)
        epochs = self.halving.epochs
        last = {}
        start = max(self.trial(job.number).intermediate_values, default=0) + 1
        for epoch in range(start, job.until + 1):
            last = result(epoch, score(job.params), finished=epoch == epochs)
            self.report(name, last)
        self.end(name, last)
        return job.number, job.until


def fail(session, name):
    """The job ends in a way that is not tried again."""
    session.lose(name, Failure(Kind.BUG, "its own fault"))


def result(epoch, best, **more):
    return {"epoch": epoch, "best_hmean": best, "finished": False, **more}


HALVING = Halving(epochs=4, grace=1, factor=2)


def by_ratio(params):
    return params[RATIO] / 10


def points(*ratios):
    return [{BACKBONE: "resnet18", RATIO: float(ratio)} for ratio in ratios]


def proposed_after(folder, *, left, right, halving=None):
    """Ten ratios proposed after twenty over the range, which ended as said left and right of 4."""
    known = [1.0 + 7.0 * i / 19 for i in range(20)]
    session = Session(folder, trials=40, halving=halving, warm_start=points(*known))
    for i, ratio in enumerate(known):
        session.next(str(i))
        session.end(str(i), left if ratio < 4 else right)
    later = []
    for i in range(20, 30):
        later.append(session.next(str(i)).params[RATIO])
        session.end(str(i), result(1, 0.3))
    return later
