"""Which trainings a search gives up, and what that saves, on trainings of which the end is known.

`python benchmarks/bench_hopeless.py [table=benchmarks/trainings.npz] [searches=500] [stretch=1]`
goes through searches that train some of the trainings that `record_trainings.py` recorded, in a
drawn order, each to its end unless it is given up (`orchestrator.compare.hopeless`), one at a time
or four. In half of the searches any trainings are drawn; in the other half those that end well four
times as often, as by a sampler that has learnt. A trial is "a good one" when it would have ended in
the best quarter of its search. `stretch=3` makes three epochs of each recorded one, with H-means on
the line between, as if there were a third of the pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from replay import read_table
from timing import run

from orchestrator.compare.hopeless import why_hopeless

DEFAULTS = {
    "table": str(Path(__file__).with_name("trainings.npz")),
    "searches": 500,
    "stretch": 1,
}
SIZES = (8, 12, 20, 30)  # trials of a search
AT_ONCE = (1, 4)
SHARES = (0.25, 0.5, 0.75, 1.0)
PREFERRED = 4  # times as often are trainings drawn that end well


@dataclass(frozen=True)
class Search:
    """The trainings of one search by their rows, in its order, and how many run at once."""

    order: tuple[int, ...]
    at_once: int


def main(options: dict[str, Any]) -> None:
    curves = stretched(read_table(Path(options["table"])).crossfit, options["stretch"])
    searches = list(drawn(curves[:, -1], options["searches"]))
    print(f"{len(curves)} trainings of {curves.shape[1]} epochs, {len(searches)} searches\n")
    print("| search.hopeless | trials given up | of them good ones | the best one | epochs saved |")
    print("|---|---|---|---|---|")
    for share in SHARES:
        print(row(share, curves, searches))


def stretched(hmeans: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    """`(C, E * times)` best H-mean so far of `(C, E)` H-means, 0 before the first epoch."""
    best = np.maximum.accumulate(hmeans, axis=1)
    known = np.arange(best.shape[1] + 1)
    wanted = np.arange(1, best.shape[1] * times + 1) / times
    return np.stack([np.interp(wanted, known, [0.0, *curve]) for curve in best])


def drawn(final: NDArray[np.float64], count: int) -> Iterator[Search]:
    """Searches by all sizes and numbers at once in turn; see the top of this file."""
    rng = np.random.default_rng(0)
    weights = np.where(final >= np.quantile(final, 0.6), PREFERRED, 1.0)
    for index in range(count):
        size = min(SIZES[index // 2 % len(SIZES)], len(final))
        at_once = AT_ONCE[index // 2 // len(SIZES) % len(AT_ONCE)]
        chances = weights / weights.sum() if index % 2 else None
        order = rng.choice(len(final), size, replace=False, p=chances)
        yield Search(tuple(order.tolist()), at_once)


def row(share: float, curves: NDArray[np.float64], searches: Sequence[Search]) -> str:
    """What this share of `search.hopeless` gives, as a row of the table."""
    trials = given_up = good = best = trained = 0
    for search in searches:
        epochs = replayed(search, curves, share)
        ranked = sorted(search.order, key=lambda training: -curves[training, -1])
        stopped = {training for training in ranked if epochs[training] < curves.shape[1]}
        trials, given_up = trials + len(ranked), given_up + len(stopped)
        good += len(stopped & set(ranked[: max(1, len(ranked) // 4)]))
        best += ranked[0] in stopped
        trained += sum(epochs.values())
    saved = 1 - trained / (trials * curves.shape[1])
    return f"| {share:g} | {given_up} of {trials} | {good} | {best} | {saved:.1%} |"


def replayed(search: Search, curves: NDArray[np.float64], share: float) -> Mapping[int, int]:
    """The epochs that each training gets; those at once train in step."""
    last, waiting = curves.shape[1], list(search.order)
    known: dict[int, dict[int, float]] = {}
    active: list[int] = []
    while waiting or active:
        while waiting and len(active) < search.at_once:
            active.append(waiting.pop(0))
            known[active[-1]] = {}
        for training in list(active):
            epoch = len(known[training]) + 1
            known[training][epoch] = hmean = float(curves[training, epoch - 1])
            others = [values for other, values in known.items() if other != training]
            if epoch == last or why_hopeless(epoch, last, hmean, others, share):
                active.remove(training)
    return {training: len(values) for training, values in known.items()}


if __name__ == "__main__":
    run(main, DEFAULTS, __doc__ or "")
