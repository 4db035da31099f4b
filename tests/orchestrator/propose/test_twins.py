from __future__ import annotations

from optuna.distributions import FloatDistribution
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from orchestrator.propose.twins import training_part, twin_of
from orchestrator.run.as_records import TWIN

RATIO, THRESH = "loss.negative_ratio", "postprocess.box_thresh"


def trial(number, ratio, thresh, state=OptunaState.COMPLETE, **attributes):
    params = {RATIO: ratio, THRESH: thresh}
    found = create_trial(
        state=state,
        value=0.5 if state is OptunaState.COMPLETE else None,
        params=params,
        distributions=dict.fromkeys(params, FloatDistribution(0, 9)),
        user_attrs=attributes,
    )
    found.number = number
    return found


def test_the_training_part_leaves_out_what_is_done_with_weights():
    weights = {RATIO: 3.0, "preprocess.crop": True, "model.weights": "auto"}
    size = {"preprocess.test_scale": 0.8, "preprocess.tile_px": 640}
    assert training_part(weights | size | {THRESH: 0.5}) == weights


def test_the_first_trial_of_the_same_training_is_the_twin():
    trials = [trial(0, 2.0, 0.3), trial(1, 3.0, 0.3), trial(2, 3.0, 0.4), trial(3, 3.0, 0.5)]
    assert twin_of(3, trials[3].params, trials) is trials[1]
    assert twin_of(1, trials[1].params, trials) is None
    assert twin_of(0, trials[0].params, trials) is None


def test_one_that_failed_or_only_borrowed_weights_has_none_to_lend():
    trials = [
        trial(0, 3.0, 0.3, OptunaState.FAIL),
        trial(1, 3.0, 0.4, **{TWIN: 0}),
        trial(2, 3.0, 0.5, OptunaState.PRUNED),
        trial(3, 3.0, 0.6),
    ]
    assert twin_of(3, trials[3].params, trials) is trials[2]
    assert twin_of(2, trials[2].params, trials) is None
