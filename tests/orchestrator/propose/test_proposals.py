"""What a sampler sees of the trials of a search."""

from __future__ import annotations

from datetime import datetime

from optuna.distributions import CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial

from orchestrator.propose.proposals import as_seen_now

BACKBONE = "model.backbone"
STEPS = {"resnet18": (4, 12, 36), "resnet50": (1, 3, 36)}


def steps(params):
    return STEPS[params[BACKBONE]]


def trial(backbone, epochs, score, state=TrialState.RUNNING):
    """A trial that reported this score in its last epoch."""
    made = create_trial(
        state=state,
        value=score if state is TrialState.COMPLETE else None,
        params={BACKBONE: backbone},
        distributions={BACKBONE: CategoricalDistribution(list(STEPS))},
        intermediate_values=dict.fromkeys(range(1, epochs), 0.1)
        | ({epochs: score} if epochs else {}),
    )
    made.datetime_start = datetime(2026, 1, 1)
    return made


def seen(*trials):
    view = as_seen_now(trials, RandomSampler(seed=0), steps=steps)
    return [(t.state.name, t.intermediate_values) for t in view.trials]


def test_a_trial_is_seen_at_the_rung_that_it_has_reached_by_its_own_epochs():
    assert seen(
        trial("resnet18", 4, 0.7),
        trial("resnet50", 1, 0.8),
        trial("resnet50", 2, 0.81),
        trial("resnet50", 3, 0.9),
        trial("resnet18", 3, 0.6),
    ) == [
        ("PRUNED", {1: 0.7}),
        ("PRUNED", {1: 0.8}),
        ("PRUNED", {1: 0.81}),
        ("PRUNED", {2: 0.9}),
        ("PRUNED", {0: 0.6}),
    ]


def test_a_trial_that_has_not_reported_is_still_running_and_one_at_its_end_is_complete():
    ended = trial("resnet50", 36, 0.9, TrialState.COMPLETE)
    ended.user_attrs["latest"] = {"best_hmean": 0.9, "epoch": 36}
    assert [state for state, _ in seen(trial("resnet18", 0, 0.0), ended)] == ["RUNNING", "COMPLETE"]
