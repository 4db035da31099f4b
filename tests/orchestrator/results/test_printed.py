"""What is printed around the leaderboard (the table itself: test_leaderboard_table.py)."""

from __future__ import annotations

import pytest

from orchestrator.results.printed import print_leaderboard
from orchestrator.trials.records import TrialRecord, TrialState

SCORED = TrialRecord("00000", TrialState.FINISHED, hmean=0.75, page_hmeans=(0.75, 0.75))
FOUND = "expected on new pages: 0.7500 (0.7500 to 0.7500); 0.7500 on the pages it was chosen by"


@pytest.mark.parametrize(
    ("records", "below", "there"),
    [
        ([SCORED], None, True),
        ([SCORED], "which says it itself", False),
        ([TrialRecord("00000", TrialState.FINISHED, hmean=0.0)], None, False),
        ([], None, False),
    ],
)
def test_a_line_says_what_to_expect_on_new_pages(
    records: list[TrialRecord], below: str | None, there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_leaderboard(records, [], below=below)
    assert (FOUND in capsys.readouterr().out.splitlines()) is there
