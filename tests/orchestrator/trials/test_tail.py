from __future__ import annotations

import pytest

from orchestrator.trials.records import TrialRecord, TrialState
from orchestrator.trials.tail import tail_hmean

NAN = float("nan")


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (None, None),
        ((), None),
        ((NAN, NAN), None),
        ((0.4,), 0.4),
        ((0.9, 0.2, NAN, 0.7), 0.2),
        ([0.9] * 9 + [0.1], 0.1),
        ([0.9] * 9 + [0.1, 0.3], 0.2),  # a tenth of eleven is more than one
        ([0.8] * 18 + [0.3, 0.1], 0.2),
    ],
)
def test_the_worst_tenth_by_hand(pages, expected):
    record = TrialRecord("0", TrialState.FINISHED, page_hmeans=pages and tuple(pages))
    assert tail_hmean(record) == pytest.approx(expected)
