"""How well a search says how long it takes, and what ending it by itself costs and saves.

`python benchmarks/bench_eta.py [table=benchmarks/trainings.npz] [seeds=20] [first=20] [trials=20]
[stretch=10] [grace=1] [factor=3]` runs searches of this project through on a clock
(`clockwork.py`): they begin `trials` of the trainings that `record_trainings.py` recorded, one at a
time or four, and an epoch takes `stretch` times as long as it did, since those are of few pages. At
quarters of its time each search is asked for its forecast. The first table has the error of the end
that it tells, over the whole time and over the time that was left: the median of all seeds, the
eighth of ten, and in how many the end lay within the interval told (four of five should). The
second has the error of the time left of each job of several epochs, when half of it was trained.
The third has what is shipped, by its H-mean over all pages, where `budget.stop=auto` ends a search
beside what is shipped at its end; and what the next hour was told to bring beside what it brought,
over all moments looked at. Seeds count from `first`: what the rules have of constants was chosen
with the seeds before 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from clockwork import Moment, Pass, Plan, run_through
from replay import read_table
from timing import run

from orchestrator.forecast.forecast import HOUR, Ends, Forecast, forecast
from orchestrator.forecast.seen import Now
from orchestrator.forecast.words import left_of, why_stop

DEFAULTS = {
    "table": str(Path(__file__).with_name("trainings.npz")),
    "seeds": 20,
    "first": 20,
    "trials": 20,
    "stretch": 10,
    "grace": 1,
    "factor": 3,
}
AT_ONCE = (1, 4)
PARTS = (0.25, 0.5, 0.75)
WORTH = 0.001
LOOKS = 3  # one moment in so many is looked at


def main(options: dict[str, Any]) -> None:
    path = Path(options["table"])
    table = read_table(path)
    with np.load(path) as file:
        seconds = file["seconds"].astype(float)
    trials = min(options["trials"], len(table.configs))
    passes = {}
    for at_once in AT_ONCE:
        plan = Plan(trials, options["grace"], options["factor"], at_once, options["stretch"])
        seeds = range(options["first"], options["first"] + options["seeds"])
        passes[at_once] = [run_through(table, seconds, plan, seed) for seed in seeds]
    print(f"{trials} of {len(table.configs)} trainings, {options['seeds']} seeds\n")
    print("| at once | at | error, of all: median | 8 of 10 | of the rest: median | in interval |")
    print("|---|---|---|---|---|---|")
    for at_once, some in passes.items():
        for part in PARTS:
            print(f"| {at_once} | {part:.0%} | {errors(some, part)} |", flush=True)
    print("\n| at once | jobs | error at half of the job, of all of it: median | 8 of 10 |")
    print("|---|---|---|---|")
    for at_once, some in passes.items():
        print(f"| {at_once} | {jobs(some)} |", flush=True)
    print("\n| at once | ended early | H-mean lost: mean | worst | epochs saved | told | came |")
    print("|---|---|---|---|---|---|---|")
    for at_once, some in passes.items():
        print(f"| {at_once} | {stops(some)} |", flush=True)


def told(moment: Moment) -> Forecast | None:
    """The forecast at a moment."""
    return forecast(moment.trials, moment.rules, Ends(), seed=len(moment.trials), hour=HOUR)


def errors(passes: Sequence[Pass], part: float) -> str:
    """Of the forecasts when this part of the time was over."""
    whole, rest, within = [], [], 0
    for one in passes:
        moment = [m for m in one.moments if m.seconds <= part * one.seconds][-1:]
        expected = told(moment[0]) if moment else None
        if expected is None:
            continue
        left = one.seconds - moment[0].seconds
        off = abs(expected.seconds - left)
        whole.append(off / one.seconds)
        rest.append(off / left)
        within += expected.low <= left * (1 + 1e-9) and left <= expected.high * (1 + 1e-9)
    if not whole:
        return "no forecast yet | | |"
    most = float(np.quantile(whole, 0.8))
    return f"{median(whole):.0%} | {most:.0%} | {median(rest):.0%} | {within} of {len(whole)}"


def jobs(passes: Sequence[Pass]) -> str:
    """How far off the time left of a job was, when half of its epochs were trained."""
    off = []
    for one in passes:
        ends: dict[tuple[int, int], float] = {}  # when a trial had trained an epoch
        for moment in reversed(one.moments):
            ends |= {(t.number, t.epoch): moment.seconds for t in moment.trials}
        for moment in one.moments:
            for trial in moment.trials:
                end, left = ends.get((trial.number, trial.until)), left_of(trial)
                first = max((step for step in trial.steps if step <= trial.epoch), default=0)
                whole, done = trial.until - first, trial.epoch - first
                if trial.now is not Now.WORKING or trial.since or done != (whole + 1) // 2:
                    continue
                if whole > 1 and end is not None and left is not None:
                    came = end - moment.seconds
                    off.append(abs(left - came) / (came * whole / (whole - done)))
    if not off:
        return "0 | | "
    return f"{len(off)} | {median(off):.0%} | {float(np.quantile(off, 0.8)):.0%}"


def stops(passes: Sequence[Pass]) -> str:
    """What ending by itself would have cost these searches, and saved."""
    lost, saved, expected, came, early = [], [], [], [], 0
    for one in passes:
        end = one.moments[-1]
        stop: Moment | None = None
        for moment in one.moments[::LOOKS]:
            known = told(moment)
            if known is None or known.gain is None:
                continue
            later = [m for m in one.moments if m.seconds <= moment.seconds + HOUR][-1]
            expected.append(known.gain)
            came.append(later.score - moment.score)
            if stop is None and why_stop(known, moment.trials, WORTH):
                stop = moment
        early += stop is not None
        lost.append(end.worth - (stop or end).worth)
        saved.append(1 - (stop or end).epochs / end.epochs)
    calibration = f"{fmean(expected):+.4f} | {fmean(came):+.4f}" if expected else " | "
    return (
        f"{early} of {len(passes)} | {fmean(lost):.4f} | {max(lost):.4f} | {fmean(saved):.0%} | "
        f"{calibration}"
    )


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
