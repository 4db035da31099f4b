from __future__ import annotations

import pytest

from orchestrator.fleet.waiting import is_worth_starting


@pytest.mark.parametrize(
    ("seconds", "faster", "waiting", "expected"),
    [
        (4.0, [], 1, True),  # there is nothing faster
        (1.5, [(1.0, 1)], 1, True),  # half a job, then its own: as soon as here
        (1.6, [(1.0, 1)], 1, False),
        (4.0, [(1.0, 1)], 3, False),  # the last of three is done there after 3.5
        (4.0, [(1.0, 1)], 4, True),
        (4.0, [(1.0, 2)], 4, False),  # two slots take half as long
        (4.0, [(1.0, 2)], 7, True),
        (4.0, [(1.0, 1), (2.0, 2)], 4, False),  # a rate of 2, and half a job of 2
        (4.0, [(1.0, 1), (2.0, 2)], 6, True),
        (3.0, [(2.0, 1), (2.0, 1)], 2, True),  # two kinds of one speed are two slots
    ],
)
def test_a_job_starts_where_the_last_of_those_waiting_is_done_sooner(
    seconds: float, faster: list[tuple[float, int]], waiting: int, expected: bool
) -> None:
    assert is_worth_starting(seconds, faster, waiting) == expected
