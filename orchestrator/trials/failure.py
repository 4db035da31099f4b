"""What happened to a worker that was lost, and whether its trial is tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

MOST_LOSSES = 3  # of a trial in the same epoch
OUT_OF_MEMORY = "out of memory"  # how reasons begin, see `detector.core.device_errors`


class Kind(str, Enum):
    """What happened to a worker."""

    LOST_NODE = "the machine is gone or does not answer"
    LOST_WORKER = "the process died"
    NODE_OUT_OF_MEMORY = "the machine had no memory left"
    NO_BUCKET = "what the machines share does not answer"
    HUNG = "it reported nothing for too long"
    BUG = "the trial's own fault"

    @property
    def is_retried(self) -> bool:
        """Whether the same trial may well succeed elsewhere, or later."""
        return self in (Kind.LOST_NODE, Kind.LOST_WORKER, Kind.NO_BUCKET)


@dataclass(frozen=True)
class Failure:
    """What happened, and the same in one line for tables."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Sharing:
    """What a trial may have to share with others, which may take the memory that it needs."""

    gpu: bool = False
    machine: bool = False

    def is_to_blame(self, failure: Failure) -> bool:
        """Whether a trial that has failed may well have the memory when it is alone."""
        if failure.kind is Kind.NODE_OUT_OF_MEMORY:
            return self.machine
        return self.gpu and failure.kind is Kind.BUG and failure.reason.startswith(OUT_OF_MEMORY)


NOTHING_SHARED = Sharing()


class Retries:
    """How often the worker of each trial was lost, so that none is tried for ever.

    A trial that got further than before begins anew: machines that are lent for an hour at a time
    would fail every long one.
    """

    def __init__(self, most: int = MOST_LOSSES) -> None:
        self._most = most
        self._lost: Counter[tuple[Hashable, int]] = Counter()

    def verdict(self, key: Hashable, epoch: int, failure: Failure) -> str | None:
        """None when what has this key, lost after `epoch`, is to be tried again; else why not."""
        if not failure.kind.is_retried:
            return failure.reason
        self._lost[key, epoch] += 1
        lost = self._lost[key, epoch]
        if lost <= self._most:
            return None
        return f"its worker was lost {lost} times after epoch {epoch}: {failure.reason}"
