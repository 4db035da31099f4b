"""Axes and words by hand."""

from __future__ import annotations

import pytest

from orchestrator.report_page.blocks import counted, listed
from orchestrator.report_page.figures import below, frame, whole_numbers


def test_a_frame_leaves_out_what_lies_far_below():
    inner = [0.90, 0.91, 0.92, 0.93, 0.94]
    # The upper four fifths begin at 0.91 and spread 0.03; two spreads below that is 0.85.
    assert frame(inner, [*inner, 0.0], spreads=2) == pytest.approx((0.85, 0.9445))
    assert frame(inner, [*inner, 0.86], spreads=2) is None
    # What lies above is shown: 0.95, and a twentieth of the 0.1 down to 0.85.
    assert frame(inner, [*inner, 0.0, 0.95], spreads=2) == pytest.approx((0.85, 0.955))
    assert frame([], [0.1], spreads=2) is None
    assert below([0.8, 0.9, 0.0], (0.85, 1.0)) == 2
    assert below([0.0], None) == 0


def test_few_whole_numbers_have_a_tick_each_and_many_as_plotly_likes():
    assert whole_numbers(4) == {"tickformat": "d", "dtick": 1}
    assert whole_numbers(500) == {"tickformat": "d"}


def test_lists_are_cut_short():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert counted(1, "trial") == "1 trial"
    assert counted(1200, "trial") == "1,200 trials"
