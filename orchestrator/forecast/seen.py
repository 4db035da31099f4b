"""What a forecast knows of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Now(Enum):
    """What becomes of a trial next."""

    WAITING = "a worker is to have it"
    WORKING = "a worker has it"
    PAUSED = "it goes on if it is among the best"
    OVER = "it goes no further"


@dataclass(frozen=True)
class Seen:
    """A trial as it stands.

    steps: the epochs at which it is compared, the last of them the whole training.
    values: the best H-mean so far by reported epoch. epoch: the last one trained.
    pace: seconds an epoch, of its newest ones; None before the first. drift: that over the pace of
    those before; 1 before there are any. kind: what trials have in common whose epochs take alike,
    such as the backbone; work: what an epoch takes beside that of another kind. since: seconds
    since its last epoch, while a worker has it.
    """

    number: int
    steps: tuple[int, ...]
    now: Now
    epoch: int = 0
    values: Mapping[int, float] = field(default_factory=dict)
    pace: float | None = None
    drift: float = 1.0
    kind: str = ""
    work: float = 1.0
    since: float = 0.0

    @property
    def hmean(self) -> float:
        """The best so far; 0 without any."""
        return max(self.values.values(), default=0.0)

    @property
    def reached(self) -> int:
        """How many of its rungs it has trained to."""
        return sum(self.epoch >= step for step in self.steps)

    @property
    def until(self) -> int:
        """The epoch that it trains to before it is compared again, or ends."""
        return next((step for step in self.steps if step > self.epoch), self.steps[-1])

    def at(self, rung: int) -> float:
        """The best H-mean up to the rung of this index, which it has reached."""
        before = [value for epoch, value in self.values.items() if epoch <= self.steps[rung]]
        return max(before) if before else min(self.values.values(), default=0.0)
