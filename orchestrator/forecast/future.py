"""One way in which a search may go on: its own rules, played with drawn outcomes."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random

from orchestrator.compare.halving import Shares, kept
from orchestrator.forecast.outcomes import Outcomes, log_error, measured, pace_of
from orchestrator.forecast.seen import Now, Seen


@dataclass(frozen=True)
class Rules:
    """How a search goes on.

    new: trials that are still to be begun. shares: by rung, of the trials there, that go on.
    at_once: jobs that run at the same time. overhead: seconds of a job beside its epochs.
    pauses: trials wait at rungs for others; otherwise they are stopped there for good.
    patience, since_best: trials that are no better than the best after which the search ends, and
    how many there are.
    """

    new: int
    shares: Shares
    at_once: int
    overhead: float = 0.0
    pauses: bool = True
    patience: int | None = None
    since_best: int = 0


@dataclass(frozen=True)
class Job:
    """A training from one rung to the next: when, from which epoch to which, and what it gave.

    before, after: log errors.
    """

    start: float
    end: float
    first: int
    last: int
    before: float
    after: float
    is_whole: bool

    def error_at(self, seconds: float) -> float:
        """The log error at a time: it falls evenly over the logarithm of epochs."""
        if seconds >= self.end:
            return self.after
        epoch = self.first + int((self.last - self.first) * self.part_at(seconds))
        if self.first == 0 or epoch <= self.first:
            return self.before
        way = math.log(epoch / self.first) / math.log(self.last / self.first)
        return self.before + way * (self.after - self.before)

    def part_at(self, seconds: float) -> float:
        """Which part of its epochs is trained."""
        if seconds >= self.end:
            return 1.0
        return max(0.0, (seconds - self.start) / (self.end - self.start))


@dataclass
class _Trial:
    """A trial on its way: how fast, where it is, how good.

    reached: rungs. first: its log error at the first rung. fails_after: so many epochs, if it does.
    """

    number: int
    steps: tuple[int, ...]
    pace: float
    first: float
    reached: int = 0
    epoch: int = 0
    error: float = 0.0
    since: float = 0.0
    fails_after: int | None = None


@dataclass
class _Play:
    """The state of a search while it is played."""

    rules: Rules
    outcomes: Outcomes
    rng: Random
    waiting: list[_Trial]
    here: list[list[tuple[float, int]]]  # by rung: log errors and numbers, best first
    passed: list[set[int]]  # by rung: the numbers of those that are not paused there
    trials: dict[int, _Trial]
    left: int
    at_work: list[tuple[float, int, _Trial, Job]] = field(default_factory=list)
    finished: int = 0


def played(trials: Sequence[Seen], outcomes: Outcomes, rules: Rules, rng: Random) -> Iterator[Job]:
    """The jobs of a search from now on in the order of their ends, times in seconds from now."""
    play = _begun(trials, outcomes, rules, rng)
    best = min((log_error(t.hmean) for t in trials), default=0.0)
    now, since_best = 0.0, rules.since_best
    while True:
        while len(play.at_work) < rules.at_once and (trial := _next(play)):
            _start(play, trial, now)
        if not play.at_work:
            return
        now, _, trial, job = heappop(play.at_work)
        yield job
        is_new = trial.reached == 0
        _end(play, trial, job)
        since_best = 0 if job.after < best else since_best + is_new
        best = min(best, job.after)
        if rules.patience is not None and since_best >= rules.patience:
            return


def _begun(trials: Sequence[Seen], outcomes: Outcomes, rules: Rules, rng: Random) -> _Play:
    paces, levels = measured(trials), max(len(t.steps) for t in trials)
    here: list[list[tuple[float, int]]] = [[] for _ in range(levels - 1)]
    passed: list[set[int]] = [set() for _ in range(levels - 1)]
    known, waiting = {}, []
    for seen in trials:
        first, error = outcomes.new(rng).error or 0.0, log_error(seen.hmean)
        where = (seen.reached, seen.epoch, error, seen.since)
        trial = _Trial(seen.number, seen.steps, pace_of(seen, paces), first, *where)
        known[seen.number] = trial
        for rung in range(min(seen.reached, levels - 1)):
            here[rung].append((log_error(seen.at(rung)), seen.number))
            if seen.now is not Now.PAUSED or seen.reached > rung + 1:
                passed[rung].add(seen.number)
        if seen.now in (Now.WORKING, Now.WAITING):
            waiting.append((seen.now is Now.WAITING, seen.number, trial))
    for rung_here in here:
        rung_here.sort()
    to_do = [trial for _, _, trial in sorted(waiting, key=lambda w: w[:2])]
    finished = sum(t.now is Now.OVER and t.reached == len(t.steps) for t in trials)
    return _Play(rules, outcomes, rng, to_do, here, passed, known, rules.new, finished=finished)


def _next(play: _Play) -> _Trial | None:
    """The trial to go on with, as `SearchJobs` chooses it; None when there is none now."""
    if play.waiting:
        return play.waiting.pop(0)
    if (number := _promotable(play)) is not None:
        return play.trials[number]
    if play.left:
        play.left -= 1
        new = play.outcomes.new(play.rng)
        number = max(play.trials, default=-1) + 1
        fails = new.epochs if new.error is None else None
        trial = _Trial(number, new.steps, new.pace, new.error or 0.0, fails_after=fails)
        play.trials[number] = trial
        return trial
    if not play.at_work and not play.finished and play.rules.pauses:
        return _leader(play)
    return None


def _promotable(play: _Play) -> int | None:
    """See `halving.promotable`; what costs another number of epochs is taken for alike."""
    if not play.rules.pauses:
        return None
    rungs = zip(play.here, play.passed, play.rules.shares, strict=True)
    for here, passed, share in reversed(list(rungs)):
        for error, number in here[: kept(share, len(here))]:
            if number not in passed and error < 0:
                return number
    return None


def _leader(play: _Play) -> _Trial | None:
    for here, passed in zip(reversed(play.here), reversed(play.passed), strict=True):
        for _, number in here:
            if number not in passed:
                return play.trials[number]
    return None


def _start(play: _Play, trial: _Trial, now: float) -> None:
    """Train it to its next rung."""
    if 0 < trial.reached < len(trial.steps):
        play.passed[trial.reached - 1].add(trial.number)
    rung = min(trial.reached, len(trial.steps) - 1)
    last = trial.steps[rung] if trial.fails_after is None else trial.fails_after
    spread = play.outcomes.unsteady
    pace = trial.pace * math.exp(spread * play.rng.gauss(0.0, 1.0) - spread**2 / 2)  # mean: pace
    seconds = max((last - trial.epoch) * pace - trial.since, 0.0)
    seconds += 0.0 if trial.since else play.rules.overhead
    is_whole = rung == len(trial.steps) - 1 and trial.fails_after is None
    before, after = trial.error, _after(play, trial, rung)
    job = Job(now, now + seconds, trial.epoch, last, before, after, is_whole)
    heappush(play.at_work, (job.end, trial.number, trial, job))


def _after(play: _Play, trial: _Trial, rung: int) -> float:
    """Its log error at the rung that it trains to."""
    if rung == 0:
        return min(trial.error, trial.first)
    way = math.log(trial.steps[rung] / max(trial.steps[rung - 1], 1))
    left = math.log(trial.steps[rung] / max(trial.epoch, 1))
    part = min(1.0, left / way) if way else 0.0
    return play.outcomes.grown(play.rng, trial.error, rung, part)


def _end(play: _Play, trial: _Trial, job: Job) -> None:
    """It is at its rung: paused, stopped or over."""
    trial.since, trial.epoch, trial.error = 0.0, job.last, job.after
    if trial.fails_after is not None:
        return
    rung = trial.reached
    trial.reached += 1
    if job.is_whole:
        play.finished += 1
        return
    insort(play.here[rung], (trial.error, trial.number))
    if not play.rules.pauses:
        here = play.here[rung]
        if (trial.error, trial.number) in here[: max(1, kept(play.rules.shares[rung], len(here)))]:
            play.waiting.insert(0, trial)
