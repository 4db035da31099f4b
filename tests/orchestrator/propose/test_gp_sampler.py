"""What the Gaussian process proposes in real Optuna studies, whose best points are known."""

from __future__ import annotations

import math
import warnings

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from orchestrator.propose import gp_sampler
from orchestrator.propose.gp_sampler import GaussianProcessSampler
from orchestrator.propose.points import identity
from orchestrator.space.parameters import Parameter

INIT = Parameter("train.init", "choice", ("none", "ppocrv6_small"))
BACKBONE = Parameter(
    "model.backbone", "choice", ("resnet18", "resnet50"), when={"train.init": ("none",)}
)
LR = Parameter("optimizer.lr", "log_uniform", (1e-4, 1e-1))
RATIO = Parameter("loss.negative_ratio", "uniform", (1.0, 9.0))
SPACE = (INIT, BACKBONE, LR, RATIO)


def suggest(trial, space=SPACE):
    """A point, asked for define-by-run as a space does."""
    point = {}
    for parameter in space:
        if parameter.applies(point):
            point[parameter.key] = parameter.suggest(trial)
    return point


def merit(point):
    """Highest, 0, for a trained ResNet-50 with a rate of 1e-2 and a ratio of 6."""
    cost = 0.5 if point["train.init"] == "ppocrv6_small" else 0.0
    cost += 0.5 if point.get("model.backbone") == "resnet18" else 0.0
    return -cost - math.log10(point["optimizer.lr"] / 1e-2) ** 2 - (point[RATIO.key] - 6) ** 2 / 16


def best_of(sampler_of, trials, seed):
    """The best merit of a study, sampler by sampler as a search makes them."""
    study = optuna.create_study(direction="maximize")
    for number in range(trials):
        study.sampler = sampler_of(1000 * seed + number)
        trial = study.ask()
        study.tell(trial, merit(suggest(trial)))
    return study.best_value


def gp(seed: int, space=SPACE) -> BaseSampler:
    return GaussianProcessSampler(space, seed)


def test_it_finds_the_best_point_where_others_come_near_only():
    ours, tpes, randoms = (
        np.median([best_of(sampler_of, 30, seed) for seed in range(3)])
        for sampler_of in (
            gp,
            lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True),
            lambda seed: RandomSampler(seed=seed),
        )
    )
    assert ours > -0.01
    assert ours > tpes
    assert ours > randoms


def past(lr, state=TrialState.COMPLETE, value=None, **reports):
    """A trial with this rate; `e3=0.5` is its score after three epochs."""
    return create_trial(
        state=state,
        value=value,
        params={LR.key: lr},
        distributions={LR.key: optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)},
        intermediate_values={int(key[1:]): score for key, score in reports.items()},
    )


def proposed(*trials, seeds=9):
    """The rates proposed after these trials, one for each seed."""
    rates = []
    for seed in range(seeds):
        study = optuna.create_study(direction="maximize", sampler=gp(seed, (LR,)))
        study.add_trials(trials)
        rates.append(LR.suggest(study.ask()))
    return rates


def paused(lr, **reports):
    return past(lr, TrialState.PRUNED, **reports)


def test_a_trial_that_went_further_is_taken_for_better():
    # With a rate of 1e-3 or less they went on, with a larger one they had more at first.
    left = [paused(10**-x, e1=0.2, e3=0.5 + 0.01 * x) for x in (3.0, 3.25, 3.5, 3.75, 4.0)]
    right = [paused(10**-x, e1=0.9) for x in (1.0, 1.25, 1.5, 1.75, 2.0)]
    assert max(proposed(*left, *right)) < 10**-2.5


def test_a_trial_that_was_trained_to_its_end_is_taken_for_better_than_a_longer_one():
    # One with patience ends early.
    left = [past(10**-x, value=0.5, e4=0.5) for x in (3.0, 3.25, 3.5, 3.75, 4.0)]
    right = [paused(10**-x, e9=0.9) for x in (1.0, 1.25, 1.5, 1.75, 2.0)]
    assert max(proposed(*left, *right)) < 10**-2.5


def test_points_are_random_until_three_trials_have_a_score():
    failed = [past(1e-2, TrialState.FAIL) for _ in range(5)]
    two = [past(1e-4, value=0.9), paused(2e-4, e1=0.9)]
    rates = proposed(*two, *failed, seeds=200)
    assert np.mean(np.array(rates) < 10**-2.5) == pytest.approx(0.5, abs=0.1)
    assert max(proposed(*two, past(1e-1, value=0.1))) < 10**-2


def test_what_breaks_every_training_is_left_alone():
    # The score grows with the rate, up to where the loss is not finite.
    good = [past(10**-x, value=4 - x) for x in (4.0, 3.5, 3.0)]
    broken = [past(10**-x, TrialState.FAIL) for x in (1.2, 1.6, 2.0)]
    careful, bold = proposed(*good, *broken), proposed(*good)
    assert max(careful) < 10**-2.5 < min(bold)


def test_what_is_being_tried_is_not_tried_again_next_door():
    known = [past(10**-x, value=-((x - 2.4) ** 2)) for x in (1.0, 1.5, 2.0, 3.0, 3.5, 4.0)]
    study = optuna.create_study(direction="maximize")
    study.add_trials(known)
    exponents = []
    for seed in range(4):  # four workers ask, and none has reported yet
        study.sampler = gp(seed, (LR,))
        exponents.append(math.log10(LR.suggest(study.ask())))
    exponents.sort()
    assert min(np.diff(exponents)) > 0.05
    alone = proposed(*known, seeds=4)  # the same without those that are being tried
    assert np.ptp(np.log10(alone)) < np.ptp(exponents)


def test_the_same_history_and_seed_propose_the_same():
    known = [past(10**-x, value=x) for x in (1.0, 2.0, 3.0)]
    assert proposed(*known) == proposed(*known)


def test_no_point_is_proposed_twice_while_another_is_left():
    space = (INIT, Parameter("train.batch_size", "int", (2, 6), step=2))
    study = optuna.create_study(direction="maximize")
    points = set()
    for number in range(6):
        study.sampler = gp(number, space)
        trial = study.ask()
        points.add(identity(suggest(trial, space)))
        study.tell(trial, trial.params["train.batch_size"] / 10)
    assert len(points) == 6
    study.sampler = gp(6, space)
    assert identity(suggest(study.ask(), space)) in points


def test_settings_that_are_given_are_kept_and_what_they_open_is_proposed():
    study = optuna.create_study(direction="maximize")
    for number in range(6):
        study.sampler = gp(number)
        if number == 5:
            study.enqueue_trial({"train.init": "none", RATIO.key: 2.0})
        trial = study.ask()
        with warnings.catch_warnings(action="error"):
            point = suggest(trial)
        study.tell(trial, merit(point))
    assert point.items() >= {"train.init": "none", RATIO.key: 2.0}.items()
    assert point["model.backbone"] in BACKBONE.values


def test_a_space_of_one_point_has_that():
    one = (Parameter("optimizer.schedule", "choice", ("cosine",)),)
    study = optuna.create_study(direction="maximize")
    for number in range(5):
        study.sampler = gp(number, one)
        trial = study.ask()
        assert suggest(trial, one) == {"optimizer.schedule": "cosine"}
        study.tell(trial, 0.5)


def test_equal_scores_share_a_rank():
    scores = gp_sampler._normal_scores([(1.0, 0.0), (1.0, 0.0), (1.0, 0.0), (3.0, 0.1)])
    assert scores[0] == scores[1] == scores[2] < scores[3]
    assert scores == pytest.approx([-0.3186394] * 3 + [1.1503494])  # of 3/8 and 7/8


def test_of_very_many_trials_the_best_and_some_of_all_others_are_learnt_from():
    standings = {number: (1.0, (number * 37 % 1000) / 1000) for number in range(1000)}
    chosen = gp_sampler._instructive(standings)
    assert len(chosen) == len(set(chosen)) == gp_sampler.MOST
    scores = [standings[number][1] for number in chosen]
    assert scores == sorted(scores, reverse=True)
    assert scores[127] == pytest.approx(0.872)
    assert scores[-1] == 0.0
    assert np.diff(scores[128:]).min() > -0.008
    assert gp_sampler._instructive({3: (1.0, 0.1), 5: (1.0, 0.2)}) == [5, 3]
