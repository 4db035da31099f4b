"""Settings under `parameters:` that are always the same."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from detector.core.errors import InputError
from orchestrator.propose.proposals import Method, sampler
from orchestrator.space.search_space import SearchSpace, load_space

TEXT = """\
parameters:
  model.fusion: {choice: [none, scale_spatial]}
  loss.binary_weight: {const: 1}
  loss.negative_ratio: {const: 4.0, when: {model.fusion: scale_spatial}}
  optimizer.schedule: {choice: [cosine]}
"""


def load(folder: Path, text: str = TEXT) -> SearchSpace:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path), gpu=True)


def test_a_constant_is_a_choice_of_one(tmp_path: Path) -> None:
    space = load(tmp_path)
    assert space == load(tmp_path, TEXT.replace("const: 1}", "choice: [1]}"))
    trial = optuna.create_study().ask()
    space.suggest(trial)
    assert trial.distributions["loss.binary_weight"] == CategoricalDistribution((1.0,))
    assert space.parameters["loss.binary_weight"].describe() == "always 1.0"
    assert load(tmp_path, space.to_yaml()) == space


@pytest.mark.parametrize("method", ["gp", "tpe"])
def test_the_study_holds_constants_in_every_trial_where_they_apply(
    tmp_path: Path, method: Method
) -> None:
    space = load(tmp_path)
    study = optuna.create_study()
    for number in range(12):  # past the random start of the search's own sampler
        study.sampler = sampler(method, space, number)
        trial = study.ask()
        point = space.suggest(trial)
        assert (point["loss.binary_weight"], point["optimizer.schedule"]) == (1.0, "cosine")
        assert ("loss.negative_ratio" in point) == (point["model.fusion"] == "scale_spatial")
        assert trial.params == point
        assert space.train_config(point).loss.binary_weight == 1.0
        study.tell(trial, number / 12)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{const: [1, 2]}", "const needs one value, got [1, 2]; use choice for several"),
        ("{const: {a: 1}}", "const needs one value, got {'a': 1}"),
        (
            "{const: 1, choice: [1]}",
            "needs exactly one of choice, uniform, log_uniform, int, const",
        ),
        ("{const: 1, step: 2}", "unknown option 'step'; beside const there may be when"),
        ("{const: -1}", "input should be greater than or equal to 0, got -1; change -1 here"),
        ("{const: 1, when: {model.fusion: x}}", "when: model.fusion is never 'x'"),
    ],
)
def test_faults(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, TEXT.replace("{const: 1}", spec))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / 'space.yaml'}:3: loss.binary_weight: {message}")
