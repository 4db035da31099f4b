from __future__ import annotations

from datetime import datetime

import pytest
from pydantic import ValidationError

from detector.core.errors import InputError
from orchestrator.config.settings import SearchConfig, run_name
from orchestrator.run.command_line import parse_arguments
from orchestrator.trials.pareto import SCORE_AND_SIZE


def test_defaults() -> None:
    config, detector = parse_arguments(["space=smoke"])
    assert config == SearchConfig(space="smoke")
    assert detector == {}
    assert (config.name, config.resume, config.storage, config.budget.trials) == (
        None,
        False,
        None,
        None,
    )


def test_a_section_of_the_search_needs_a_key() -> None:
    with pytest.raises(InputError, match=r"budget: .*got '5'"):
        parse_arguments(["space=smoke", "budget=5"])


@pytest.mark.parametrize(
    "name", ["../up", "a/b", ".hidden", "", "a b", "-x", "x" * 101, "한글", "a\n"]
)
def test_a_name_must_be_a_plain_folder_name(name: str) -> None:
    with pytest.raises(InputError, match="name: must be a plain folder name"):
        parse_arguments(["space=smoke", f"name={name}"])


@pytest.mark.parametrize("name", ["a", "run-1", "2024.01_b", "x" * 100])
def test_good_names(name: str) -> None:
    assert parse_arguments(["space=smoke", f"name={name}"])[0].name == name


def test_resume_needs_a_name() -> None:
    with pytest.raises(InputError, match="resume=true continues a run by its name; add name=RUN"):
        parse_arguments(["space=smoke", "resume=true"])
    assert parse_arguments(["space=smoke", "resume=true", "name=a"])[0].resume


def test_more_than_one_gpu_must_be_whole() -> None:
    assert (
        parse_arguments(["space=smoke", "resources.gpus_per_trial=2"])[0].resources.gpus_per_trial
        == 2
    )
    with pytest.raises(InputError, match=r"resources.gpus_per_trial: above 1 .*got '1.5'"):
        parse_arguments(["space=smoke", "resources.gpus_per_trial=1.5"])


def test_a_share_of_a_gpu_is_chosen_or_given() -> None:
    assert parse_arguments(["space=smoke"])[0].resources.gpu == "whole"
    assert parse_arguments(["space=smoke", "resources.gpu=auto"])[0].resources.gpu == "auto"
    with pytest.raises(InputError, match=r"resources: gpu=auto chooses .* gpus_per_trial=0.5 give"):
        parse_arguments(["space=smoke", "resources.gpu=auto", "resources.gpus_per_trial=0.5"])
    with pytest.raises(InputError, match=r"resources.gpu: input should be 'auto' or 'whole'.*'2'"):
        parse_arguments(["space=smoke", "resources.gpu=2"])


@pytest.mark.parametrize(
    "text", ["budget.trials=0", "budget.reduction_factor=1", "budget.concurrent=0", "seed=x"]
)
def test_numbers_out_of_range_name_their_key(text: str) -> None:
    with pytest.raises(InputError, match=f"^{text.partition('=')[0]}: "):
        parse_arguments(["space=smoke", text])


def test_run_name() -> None:
    now = datetime(2024, 5, 6, 7, 8, 9)
    assert run_name(SearchConfig(space="smoke", name="mine"), now) == "mine"
    assert run_name(SearchConfig(space="smoke"), now) == "smoke-20240506-070809"
    assert run_name(SearchConfig(space="a/my space.yaml"), now) == "my-space-20240506-070809"
    assert run_name(SearchConfig(space="영수증.yaml"), now) == "space-20240506-070809"


def test_a_generated_name_is_itself_a_valid_name() -> None:
    for space in ("smoke", "x" * 300, "./..yaml", "--.yaml"):
        name = run_name(SearchConfig(space=space), datetime(2024, 5, 6))
        assert SearchConfig(space=space, name=name).name == name


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SearchConfig(space="smoke").seed = 1  # type: ignore[misc]


def test_a_wrong_mode_is_told_with_the_modes():
    with pytest.raises(InputError, match=r"search.postprocess: .*'nested' or 'joint'"):
        parse_arguments(["space=x", "postprocess=both"])


def test_ray_stops_trials_by_epochs_only():
    with pytest.raises(InputError, match=r"search.compare=cost needs search.scheduler=promote"):
        parse_arguments(["space=x", "search.scheduler=asha", "search.compare=cost"])


def test_what_an_hour_is_worth_ends_a_search_that_may_end_by_itself():
    config, _ = parse_arguments(["space=x", "budget.stop=auto"])
    assert config.budget.worth_an_hour == 0.001
    config, _ = parse_arguments(["space=x", "budget.stop=auto", "budget.worth=0.002"])
    assert config.budget.worth_an_hour == 0.002
    with pytest.raises(InputError, match=r"budget: worth=0.002 says .* add budget.stop=auto, or"):
        parse_arguments(["space=x", "budget.worth=0.002"])
    with pytest.raises(InputError, match=r"budget.stop=auto weighs H-mean alone"):
        parse_arguments(["space=x", "budget.stop=auto", "search.objectives=[hmean,latency_ms]"])


def test_objectives_are_figures_with_the_hmean_among_them():
    config, _ = parse_arguments(["space=x", "search.objectives=[hmean,latency_ms]"])
    assert config.search.trade_off() == (("hmean", "max"), ("latency_ms", "min"))
    assert SearchConfig(space="x").search.trade_off() == SCORE_AND_SIZE
    for wrong in ("latency_ms", "[hmean,speed]", "[hmean,hmean]", "[]"):
        with pytest.raises(InputError, match=r"search.objectives: must be hmean and others out of"):
            parse_arguments(["space=x", f"search.objectives={wrong}"])


def test_leaders_are_confirmed_with_three_seeds_when_it_is_asked_for():
    assert SearchConfig(space="x").confirm.top == 0
    config, _ = parse_arguments(["space=x", "confirm.top=3"])
    assert (config.confirm.top, config.confirm.seeds) == (3, 3)
    for wrong, rule in (("top=-1", "confirm.top: .*0"), ("seeds=0", "confirm.seeds: .*1")):
        with pytest.raises(InputError, match=rule):
            parse_arguments(["space=x", f"confirm.{wrong}"])
    with pytest.raises(InputError, match=r"confirm.sedes: unknown key; did you mean confirm.seeds"):
        parse_arguments(["space=x", "confirm.sedes=3"])
