"""Which trials give up their files where all together may take no more of the disk.

What a trial keeps is reckoned from its number of weights and not looked up: so a resumed search
decides as one that was never interrupted, and one whose files lie in a bucket as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from detector.core.errors import InputError
from orchestrator.compare.halving import Place, Shares, may_go_on
from orchestrator.results.ranking import best, ranked
from orchestrator.trials.records import TrialRecord, TrialState

STATE = 4  # of a training, in units of its weights: those, their average, the optimizer's moments
KEPT = {  # in the same units; of a trial that is over, while its weights are there
    TrialState.FINISHED: 1,
    TrialState.STOPPED: 1,
    TrialState.FAILED: 1,
    TrialState.PAUSED: STATE + 1,
}
AT_WORK = 3 * STATE + 2  # two states and the best weights, and one of each that is being written
RESULT = 2  # the run's `best/`, and its next one
BYTES = 4e6  # of a million weights
GB = 1e9


def require_room(disk_gb: float, sizes: Mapping[str, int], say: Callable[[str], None]) -> None:
    """InputError where not even a trial of the smallest network keeps within the limit.

    `sizes` are bytes of the weights of networks by name. `say` is told of a larger network whose
    trials pass the limit by themselves.
    """
    taken = {name: (AT_WORK + RESULT) * size / GB for name, size in sizes.items()}
    least, most = min(taken, key=taken.__getitem__), max(taken, key=taken.__getitem__)
    if taken[least] > disk_gb:
        raise InputError(
            f"budget.disk_gb: a trial with {least}, the smallest network of the space, may take "
            f"{taken[least]:.2g} GB while it trains, got {disk_gb:g}; give more, or leave it out"
        )
    if taken[most] > disk_gb:
        say(
            f"budget.disk_gb={disk_gb:g}: a trial with {most} may take {taken[most]:.2g} GB while "
            "it trains, so the limit is passed then; search.narrow keeps smaller networks"
        )


def held(records: Sequence[TrialRecord]) -> dict[str, float]:
    """Bytes that the files of each trial take at most.

    One that has not reported its number of weights counts as the largest of the others.
    """
    largest = _largest(records)
    return {
        record.trial: BYTES * (record.params_m or largest) * KEPT.get(record.state, AT_WORK)
        for record in records
        if record.checkpoint is not None or not record.state.is_over
    }


def to_give_up(
    records: Sequence[TrialRecord],
    places: Mapping[int, Place],
    shares: Shares,
    most: float,
    needed: Collection[int] = (),
) -> tuple[list[TrialRecord], float]:
    """Trials that are paused or over and keep no files, so that all others take `most` bytes.

    places: where trials stand at rungs, of which these `shares` go on. needed: trials that keep
    theirs for others. Returns with them the bytes by which `most` is still passed, or 0: trials at
    work and those that a search cannot do without keep theirs in any case.
    """
    sizes = held(records)
    excess = sum(sizes.values()) + RESULT * BYTES * _largest(records) - most
    found = []
    for record in _by_worth(records, places, shares):
        if excess <= 0:
            break
        if record.trial in sizes and int(record.trial) not in needed:
            found.append(record)
            excess -= sizes[record.trial]
    return found, max(0.0, excess)


def _by_worth(
    records: Sequence[TrialRecord], places: Mapping[int, Place], shares: Shares
) -> Iterator[TrialRecord]:
    """Those that can be done without, the least worth first.

    Nobody goes on from trials that were stopped or have failed. Paused ones may yet be promoted,
    the best of a rung most likely. Finished ones can be shipped, or averaged.
    """
    top = best(records)
    worst_first = [record for record in reversed(ranked(records)) if record is not top]
    yield from (r for r in worst_first if r.state in (TrialState.FAILED, TrialState.STOPPED))
    paused = {
        record.trial: (place.rank / place.of, place.rank)
        for record in worst_first
        if record.state is TrialState.PAUSED
        and (place := places.get(int(record.trial))) is not None
        and place.rank > may_go_on(shares[place.rung - 1], place.of)
    }
    spare = [record for record in worst_first if record.trial in paused]
    yield from sorted(spare, key=lambda record: paused[record.trial], reverse=True)
    yield from (r for r in worst_first if r.state is TrialState.FINISHED)


def _largest(records: Sequence[TrialRecord]) -> float:
    return max((record.params_m or 0.0 for record in records), default=0.0)
