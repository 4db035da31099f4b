"""Trials that gave the same scores, by hand."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from orchestrator.results.repeats import repeated
from orchestrator.run.as_records import BEST, TWIN

CURVE = (0.0, 0.25, 0.5, 0.75)


def trial(number, schedule, curve=CURVE, pages=(0.5, 1.0), **attributes):
    params = {"optimizer.lr": 0.1, "optimizer.schedule": schedule}
    made = create_trial(
        state=OptunaState.PRUNED,
        params=params,
        distributions={key: CategoricalDistribution([value]) for key, value in params.items()},
        user_attrs={BEST: {"epoch": len(curve), "hmeans": list(pages)}} | attributes,
        intermediate_values=dict(enumerate(curve, 1)),
    )
    made.number = number
    return made


def test_a_schedule_that_never_stepped_is_told():
    assert repeated([trial(0, "cosine"), trial(1, "poly"), trial(2, "step", (0.0, 0.2, 0.5))]) == [
        "trial 00001 repeated trial 00000 to the last digit, so that here this made no "
        "difference: optimizer.schedule"
    ]


def test_one_that_waits_at_a_rung_is_compared_as_far_as_it_got():
    (line,) = repeated([trial(3, "cosine", (*CURVE, 0.8)), trial(7, "poly")])
    assert line.startswith("trial 00007 repeated trial 00003 ")


@pytest.mark.parametrize(
    "other",
    [
        trial(1, "poly", (0.0, 0.25, 0.5, 0.7500001)),
        trial(1, "poly", CURVE[:3]),  # two scores may be a coincidence
        trial(1, "poly", pages=(1.0, 0.5)),
        trial(1, "poly", **{TWIN: 0}),  # it has the other's weights
        trial(1, "poly", ()),
    ],
)
def test_what_may_differ_is_not_told(other):
    assert repeated([trial(0, "cosine"), other]) == []
