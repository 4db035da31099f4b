"""How good a trial is on the pages that it finds hardest."""

from __future__ import annotations

import math
from statistics import fmean

from orchestrator.trials.records import TrialRecord

SHARE = 10  # one page of so many


def tail_hmean(record: TrialRecord) -> float | None:
    """The mean H-mean of the worst tenth of a trial's pages, of one at least; None without pages.

    A part of a page counts as a whole one.
    """
    known = sorted(h for h in record.page_hmeans or () if math.isfinite(h))
    return fmean(known[: -(-len(known) // SHARE)]) if known else None
