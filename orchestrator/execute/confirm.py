"""Trains the leaders of a search with new seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from detector.config.cli import log
from orchestrator.events.kinds import Event, Tell, best_written
from orchestrator.events.lines import line_of, must_be_read
from orchestrator.execute.events import Events
from orchestrator.execute.session import Session
from orchestrator.execute.tuner import run_jobs
from orchestrator.propose.again import Training
from orchestrator.propose.confirmation import SEEDS_FOLDER, SeedJobs, trainings
from orchestrator.results.ranking import confirmed_hmean, confirmed_sd, ranked
from orchestrator.results.write import BEST, write_results
from orchestrator.run.run import Run
from orchestrator.trials.job import Listener, TrialJob
from orchestrator.trials.records import TrialRecord


def confirm(session: Session, listeners: Sequence[Listener] = ()) -> None:
    """Train the leaders with new seeds, as far as that is not done, and print what it gave.

    Ray must be running. A training that fails is recorded with its reason and not tried again.
    Raises LimitReachedError when a limit of the session's watch is reached, patience apart.
    """
    run = session.run
    if run.config.confirm.top == 0:
        return
    every = trainings(run)
    say = partial(print, flush=True)
    events = Events(run, session.write, partial(_show, say))
    jobs = SeedJobs(run.study, every, events.decided, session.resources.sharing)
    if jobs.left:
        limits = session.watch.of_spending()
        limits.look()
        limits.step()
        log(_announced(every, jobs.left, epochs=run.space.budget.epochs))
        with closing(events):
            run_jobs(session, jobs, [events, *listeners, limits, Results(run, events.tell)])
    for line in summary(run.records(), every):
        say(line)


def _show(say: Callable[[str], None], event: Event) -> None:
    """Only what is over: epochs of leaders say nothing new."""
    if must_be_read(event) and (line := line_of(event)):
        say(line)


class Results(Listener):
    """Writes the leaderboard when a training is over."""

    def __init__(self, run: Run, tell: Tell) -> None:
        self._run, self._tell = run, tell

    def ended(self, job: TrialJob) -> None:  # noqa: ARG002
        """Write it."""
        run = self._run
        if top := write_results(run.folder, run.records(), run.parameters, run.trade_off):
            self._tell(best_written(top, run.folder / BEST))

    lost = ended


def _announced(every: Sequence[Training], left: int, *, epochs: int) -> str:
    count = len({training.leader.trial for training in every})
    best = "the best trial" if count == 1 else f"the best {count} trials"
    return (
        f"new seeds for {best}: {left} of {len(every)} trainings of {epochs} "
        f"epochs are to do (trials/*/{SEEDS_FOLDER}/*/log.txt)"
    )


def summary(records: Sequence[TrialRecord], every: Sequence[Training]) -> list[str]:
    """A line for each leader, best first: the mean and spread of its new seeds, and the first."""
    names = {training.leader.trial for training in every}
    return [_in_words(record) for record in ranked(records) if record.trial in names]


def _in_words(record: TrialRecord) -> str:
    mean, sd = confirmed_hmean(record), confirmed_sd(record)
    if mean is None:
        return f"trial {record.trial} has no score of a new seed: {record.reason}"
    spread = "" if sd is None else f" ± {sd:.4f}"
    seeds = f"{len(record.confirmed)} new seed{'s' if len(record.confirmed) > 1 else ''}"
    return f"trial {record.trial}: H-mean {mean:.4f}{spread} of {seeds} (first {record.hmean:.4f})"
