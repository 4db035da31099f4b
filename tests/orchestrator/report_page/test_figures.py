"""Axes and coordinates by hand."""

from __future__ import annotations

import pytest

from orchestrator.report_page.figures import below, escaped, frame, whole_numbers
from orchestrator.report_page.parallel import axis, coordinates
from orchestrator.report_page.wording import counted, listed


def test_a_frame_leaves_out_what_lies_far_below():
    inner = [0.90, 0.91, 0.92, 0.93, 0.94]
    # The upper four fifths begin at 0.91 and spread 0.03; two spreads below that is 0.85.
    assert frame(inner, [*inner, 0.0], spreads=2) == pytest.approx((0.85, 0.9445))
    assert frame(inner, [*inner, 0.86], spreads=2) is None
    assert frame([], [0.1], spreads=2) is None
    assert below([0.8, 0.9, 0.0], (0.85, 1.0)) == 2
    assert below([0.0], None) == 0


def test_few_whole_numbers_have_a_tick_each_and_many_as_plotly_likes():
    assert whole_numbers(4) == {"tickformat": "d", "dtick": 1}
    assert whole_numbers(500) == {"tickformat": "d"}


def test_an_axis_of_numbers_is_by_size():
    of_lr = axis("lr", [1e-4, 1e-2, 1e-3, None], log=True)
    assert of_lr.heights == pytest.approx((0.0, 1.0, 0.5, None))
    assert of_lr.ticks == ((0.0, "0.0001"), (1.0, "0.01"))
    assert axis("size", [320, 640, 480]).heights == (0.0, 1.0, 0.5)


def test_an_axis_of_choices_has_a_place_for_each():
    of_choice = axis("fusion", ["none", "b", None, "none"])
    assert of_choice.heights == (1.0, 0.0, None, 1.0)
    assert of_choice.ticks == ((0.0, "b"), (1.0, "none"))
    assert axis("amp", [True, True]).heights == (0.5, 0.5)


def test_coordinates_draw_every_trial_once_and_the_best_last():
    figure = coordinates([axis("H-mean", [0.1, 0.5, 0.3, 0.2, 0.4]), axis("x", [1, 2, 3, 4, 5])])
    assert [d["x"] for d in figure["data"]] == [[0, 1, None]] * 5
    assert figure["data"][-1]["y"] == [1.0, 0.25, None]
    assert figure["data"][0]["y"] == [0.0, 0.0, None]


def test_lists_are_cut_short():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert counted(1, "trial") == "1 trial"
    assert counted(1200, "trial") == "1,200 trials"


def test_texts_for_plotly_are_escaped():
    assert escaped("<b>&") == "&lt;b&gt;&amp;"
