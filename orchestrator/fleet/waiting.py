"""Whether a long job should start on a slow machine or wait for a faster one."""

from __future__ import annotations

from collections.abc import Sequence

REST = 0.5  # of a job that is at work, on the average, when another begins to wait


def is_worth_starting(seconds: float, faster: Sequence[tuple[float, int]], waiting: int) -> bool:
    """Whether the last of `waiting` equal jobs would be done sooner if one began here now.

    seconds: of a step here, where there is room. faster: seconds of a step and slots of each faster
    kind, all of them taken. There the jobs begin as others end, of which half is left on the
    average; the slots share them by their speed.
    """
    rate = sum(slots / each for each, slots in faster)
    if not rate:
        return True
    return seconds <= waiting / rate + REST * max(each for each, _ in faster)
