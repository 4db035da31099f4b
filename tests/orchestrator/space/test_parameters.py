from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from orchestrator.space.parameters import Budget, Parameter


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        (Parameter("k", "choice", ("a", None)), CategoricalDistribution(("a", None))),
        (Parameter("k", "uniform", (0.1, 0.5)), FloatDistribution(0.1, 0.5)),
        (Parameter("k", "log_uniform", (1e-4, 1e-2)), FloatDistribution(1e-4, 1e-2, log=True)),
        (Parameter("k", "int", (8, 16)), IntDistribution(8, 16)),
        (Parameter("k", "int", (64, 256), 32), IntDistribution(64, 256, step=32)),
    ],
)
def test_values_are_drawn_with_both_ends(
    parameter: Parameter, distribution: BaseDistribution
) -> None:
    trial = optuna.create_study().ask()
    assert parameter.contains(parameter.suggest(trial))
    assert trial.distributions == {"k": distribution}


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Parameter("k", "choice", (1, "a")), [1, "a"], [True, 1.0, "b", None]),
        (Parameter("k", "uniform", (0.1, 0.5)), [0.1, 0.3, 0.5], [0.09, 0.51, "0.3", None]),
        (Parameter("k", "int", (10, 30), 10), [10, 20, 30], [15, 0, 40, True]),
        (Parameter("k", "uniform", (0.0, 1.0)), [0, 1], [True, float("nan")]),
    ],
)
def test_contains(parameter: Parameter, inside: list[object], outside: list[object]) -> None:
    assert all(parameter.contains(value) for value in inside)
    assert not any(parameter.contains(value) for value in outside)


@given(st.integers(-50, 50), st.integers(1, 9), st.integers(1, 9), st.integers(-100, 100))
def test_whole_numbers_agree_with_a_plain_list(low: int, step: int, count: int, value: int) -> None:
    parameter = Parameter("k", "int", (low, low + step * count), step)
    assert parameter.contains(value) == (value in range(low, low + step * count + 1, step))


def test_every_condition_must_hold() -> None:
    parameter = Parameter("k", "int", (1, 2), when={"a": (1, 2), "b": ("x",)})
    assert parameter.applies({"a": 2, "b": "x"})
    assert not parameter.applies({"a": 3, "b": "x"})
    assert not parameter.applies({"a": 1})
    assert Parameter("k", "int", (1, 2)).applies({})


def test_plain_form_is_what_a_space_file_holds() -> None:
    parameter = Parameter("k", "int", (0, 10), 5, {"a": (1,)})
    assert parameter.to_plain() == {"int": [0, 10], "step": 5, "when": {"a": [1]}}
    assert Parameter("k", "choice", ("a",)).to_plain() == {"choice": ["a"]}


def test_budget_refuses_a_grace_beyond_the_end() -> None:
    assert Budget(epochs=5, grace_epochs=5).grace_epochs == 5
    with pytest.raises(ValidationError, match="grace_epochs must not exceed epochs, got 6 > 5"):
        Budget(epochs=5, grace_epochs=6)
