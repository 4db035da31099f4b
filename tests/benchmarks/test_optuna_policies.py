"""Searches on Optuna alone, on tables of which the course can be told by hand."""

from __future__ import annotations

import numpy as np
import optuna_policies
import pytest
import replay
from optuna_policies import Lookup, i_epoch, one_by_one, pasha, random_search, untried
from policies import Rules

RULES = Rules(grace=1, factor=3, concurrent=1)


def table_of(crossfits):
    """A table whose cross-fitted and shipped H-means are these, `(C, E)`; two settings, alike."""
    values = np.asarray(crossfits, float)
    configs = tuple({"lr": float(i)} for i in range(len(values)))
    hmeans = np.broadcast_to(values[:, :, None, None], (*values.shape, 2, 2))
    return replay.Table(configs, ({"thresh": 0.2}, {"thresh": 0.3}), hmeans, {})


def trained(rule, crossfits, *, seed=0, cap=1000):
    """Every (row, epoch) in the order in which the rule trains them, and the yardstick."""
    table, yardstick, order = table_of(crossfits), replay.Yardstick(2.0, cap), []

    class Noted(Lookup):
        def train(self, training, until):
            order.extend((training.row, e) for e in range(len(training.values) + 1, until + 1))
            super().train(training, until)

    lookup = Noted(table, yardstick, nested=True)
    optuna_policies.until_enough(lambda: rule(lookup, untried(lookup, seed), RULES))
    return order, yardstick


def rising(finals, epochs=9):
    """Curves that never cross."""
    return np.asarray(finals)[:, None] * np.linspace(0.5, 1, epochs)


def test_random_search_trains_each_point_once_to_its_end():
    order, _ = trained(random_search, rising([0.1, 0.2, 0.3, 0.4]))
    rows = [row for row, epoch in order if epoch == 1]
    assert sorted(rows) == [0, 1, 2, 3]
    assert order == [(row, epoch) for row in rows for epoch in range(1, 10)]


def test_i_epoch_promotes_the_best_of_each_round_and_then_the_rest():
    def rule(lookup, drawn, rules):
        i_epoch(lookup, drawn, rules, trials=4, promoted=1)

    finals = np.linspace(0.1, 0.8, 8)
    order, _ = trained(rule, rising(finals))
    assert sorted(order) == [(row, epoch) for row in range(8) for epoch in range(1, 10)]
    first, second = order[:4], order[12:16]
    assert {epoch for _, epoch in first + second} == {1}
    best = max(row for row, _ in first)
    assert order[4:12] == [(best, epoch) for epoch in range(2, 10)]
    left = {row for row, _ in first + second} - {best}
    assert {row for row, _ in order[16:24]} == {max(left)}


def test_pasha_trains_none_further_than_it_must_while_the_order_holds():
    order, _ = trained(pasha, rising(np.linspace(0.1, 0.9, 18)))
    begun = max(i for i, (_, epoch) in enumerate(order) if epoch == 1)
    # The second rung gets three of them soon, of which successive halving would finish one.
    assert max(epoch for _, epoch in order[:begun]) == 3
    # In the end the best goes on to its end first.
    assert next(row for row, epoch in order if epoch == 9) == 17


def test_pasha_goes_further_when_the_order_does_not_hold():
    curves = rising(np.linspace(0.1, 0.9, 18))
    curves[:, 2:] = curves[::-1, 2:]  # what was best is worst from the third epoch on
    order, _ = trained(pasha, curves)
    begun = max(i for i, (_, epoch) in enumerate(order) if epoch == 1)
    assert max(epoch for _, epoch in order[:begun]) == 9


@pytest.mark.parametrize("rule", [random_search, i_epoch, pasha])
def test_a_search_ends_with_the_epoch_that_is_enough(rule):
    order, yardstick = trained(rule, rising(np.linspace(0.1, 0.9, 30)), cap=25)
    assert len(yardstick.worths) == 25
    # What the rule asked for last may have been cut short.
    assert len(order) >= 25


@pytest.mark.parametrize("rule", [random_search, i_epoch, pasha])
def test_the_seed_decides_alone(rule):
    curves = rising(np.linspace(0.1, 0.9, 30))
    first, again, other = (trained(rule, curves, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_points_of_post_processing_are_drawn_too_when_it_is_joint():
    table = table_of([[0.1], [0.2]])
    lookup = Lookup(table, replay.Yardstick(2.0, 100), nested=False)
    found = [(t.row, t.column) for t in untried(lookup, 0)]
    assert sorted(found) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_hyperband_ships_what_the_table_has_and_stops_bad_trials_early():
    table = table_of(rising(np.linspace(0.1, 0.9, 12)))
    yardstick = replay.Yardstick(2.0, 200)
    optuna_policies.optuna_hyperband(table, yardstick, 0, RULES)
    assert len(yardstick.worths) == 200
    assert yardstick.worths[-1] == pytest.approx(0.9)
    assert set(yardstick.worths) <= set(table.shipped.ravel().tolist())


def test_one_by_one_reaches_the_target_and_no_further():
    table = table_of(rising([0.3, 0.6, 0.9]))
    yardstick = replay.Yardstick(0.9, 100)
    one_by_one(random_search, table, yardstick, 0, RULES)
    assert yardstick.reached
    assert max(yardstick.worths[:-1]) < 0.9
