"""Searching a part of a space: search.narrow.KEY=[...]."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.config.cli import help_text
from detector.config.sections import flatten, nest
from detector.core.errors import InputError
from orchestrator.run import run_folder
from orchestrator.run.command_line import SearchArguments, parse_arguments
from orchestrator.space.files import available_spaces
from orchestrator.space.parameters import Parameter
from orchestrator.space.search_space import SearchSpace, load_space

TEXT = """\
fixed:
  augment.crop_px: 320
parameters:
  optimizer.lr: {log_uniform: [1e-4, 1e-2]}
  model.fusion: {choice: [none, scale_spatial, scale_channel_spatial]}
  loss.negative_ratio: {uniform: [2, 5], when: {model.fusion: scale_spatial}}
  model.neck_channels: {int: [64, 256], step: 32}
  train.batch_size: {choice: [2, "4", 8]}
warm_start:
  - {optimizer.lr: 0.001, model.fusion: scale_spatial, loss.negative_ratio: 3}
  - {optimizer.lr: 0.005, model.fusion: none}
"""
SEARCHED = "optimizer.lr, model.fusion, loss.negative_ratio, model.neck_channels, train.batch_size"


def load(folder: Path, *arguments: str, text: str = TEXT) -> SearchSpace:
    """The space under arguments of the command line."""
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    config, overrides = parse_arguments([f"space={path}", *arguments])
    return load_space(str(path), gpu=True, overrides=overrides, narrow=config.search.narrow)


def faults(folder: Path, *arguments: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(folder, *arguments)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


@pytest.mark.parametrize(
    ("argument", "key", "values"),
    [
        ("model.fusion=[none,scale_spatial]", "model.fusion", ("none", "scale_spatial")),
        ("model.fusion=[scale_spatial,none,none]", "model.fusion", ("none", "scale_spatial")),
        ("model.fusion=scale_spatial", "model.fusion", ("scale_spatial",)),
        ("train.batch_size=[4,8]", "train.batch_size", (4, 8)),
        ("train.batch_size=2", "train.batch_size", (2,)),
        ("optimizer.lr=[1e-3,2e-3]", "optimizer.lr", (1e-3, 2e-3)),
        ("optimizer.lr=[0.0001,0.01]", "optimizer.lr", (1e-4, 1e-2)),
        ("loss.negative_ratio=[3,4]", "loss.negative_ratio", (3.0, 4.0)),
        ("model.neck_channels=[96,160]", "model.neck_channels", (96, 160)),
    ],
)
def test_a_part_of_a_setting_is_kept(
    tmp_path: Path, argument: str, key: str, values: tuple[Any, ...]
) -> None:
    space = load(tmp_path, f"search.narrow.{argument}")
    assert space.parameters[key].values == values
    assert [type(v) for v in space.parameters[key].values] == [type(v) for v in values]
    whole = load(tmp_path)
    assert list(space.parameters) == list(whole.parameters)
    others = [k for k in whole.parameters if k != key]
    assert [space.parameters[k] for k in others] == [whole.parameters[k] for k in others]


def test_points_outside_are_left_out_with_a_note(tmp_path: Path) -> None:
    space = load(tmp_path, "search.narrow.optimizer.lr=[2e-3,1e-2]")
    assert space.warm_start == ({"optimizer.lr": 0.005, "model.fusion": "none"},)
    assert space.notes == (
        f"the warm start of {tmp_path / 'space.yaml'}:10 is left out: optimizer.lr=0.001 "
        "is not in this space (log_uniform [0.002, 0.01])",
    )


def test_conditions_that_can_hold_no_more_drop_their_setting_with_a_note(tmp_path: Path) -> None:
    space = load(tmp_path, "search.narrow.model.fusion=[none,scale_channel_spatial]")
    assert "loss.negative_ratio" not in space.parameters
    assert space.notes[0] == "loss.negative_ratio is not searched: it needs another model.fusion"
    assert space.warm_start == ({"optimizer.lr": 0.005, "model.fusion": "none"},)
    chain = TEXT.replace("step: 32}", "step: 32, when: {loss.negative_ratio: [3]}}")
    assert "model.neck_channels" in load(tmp_path, text=chain).parameters
    above = load(tmp_path, "search.narrow.loss.negative_ratio=[4,5]", text=chain)
    assert "model.neck_channels" not in above.parameters
    both = load(tmp_path, "search.narrow.model.fusion=none", text=chain)
    assert list(both.parameters) == ["optimizer.lr", "model.fusion", "train.batch_size"]


def test_only_values_that_can_come_about_are_left_in_a_condition(tmp_path: Path) -> None:
    text = TEXT.replace("{model.fusion: scale_spatial}", "{model.fusion: [none, scale_spatial]}")
    space = load(tmp_path, "search.narrow.model.fusion=none", text=text)
    assert space.parameters["loss.negative_ratio"].when == {"model.fusion": ("none",)}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("model.fuson=none", "unknown key; did you mean model.fusion?"),
        ("model=none", "is a section; set one of its keys: model.fusion, model.neck_channels"),
        ("zzz=1", f"unknown key; valid keys: {SEARCHED}"),
        (
            "augment.crop_px=[320]",
            "is not searched in this space: it is fixed to 320 (space.yaml:2); "
            f"searched are {SEARCHED}",
        ),
        (
            "postprocess.box_thresh=[0.3,0.4]",
            f"is not searched in this space: it is 0.5 by default; searched are {SEARCHED}",
        ),
        (
            "model.fusion=[]",
            "an empty list leaves nothing to search; choose from "
            "none, scale_spatial, scale_channel_spatial",
        ),
        (
            "model.fusion=[none,attention]",
            "attention is not among this space's choices; choose from "
            "none, scale_spatial, scale_channel_spatial",
        ),
        ("train.batch_size=16", "16 is not among this space's choices; choose from 2, 4, 8"),
        (
            "optimizer.lr=[]",
            "needs two numbers [low, high], got []; give [low, high] inside "
            "log_uniform [0.0001, 0.01]",
        ),
        (
            "optimizer.lr=1e-3",
            "needs two numbers [low, high], got [0.001]; give [low, high] inside "
            "log_uniform [0.0001, 0.01]; to hold it at one value, give optimizer.lr=0.001",
        ),
        (
            "optimizer.lr=[a,b]",
            "needs two numbers [low, high], got ['a', 'b']; give [low, high] inside",
        ),
        ("optimizer.lr=[true,1]", "needs two numbers [low, high], got [True, 1.0]; give"),
        ("optimizer.lr=[1e-3,1e-3]", "needs low < high, got [0.001, 0.001]; give [low, high]"),
        ("optimizer.lr=[nan,1e-3]", "needs two numbers [low, high], got ['nan', 0.001]; give"),
        (
            "optimizer.lr=[1e-3,1]",
            "1.0 is not in this space; give [low, high] inside log_uniform [0.0001, 0.01]",
        ),
        (
            "model.neck_channels=[64,100]",
            "100 is not in this space; give [low, high] inside int [64, 256] in steps of 32",
        ),
        (
            "model.neck_channels=[64.5,96]",
            "needs two whole numbers [low, high], got [64.5, 96]; give [low, high] inside int",
        ),
        ("loss.negative_ratio=[false,3]", "needs two numbers [low, high], got [False, 3.0]"),
    ],
)
def test_faults(tmp_path: Path, argument: str, message: str) -> None:
    (found,) = faults(tmp_path, f"search.narrow.{argument}")
    key = argument.partition("=")[0]
    assert found.startswith(f"command line: search.narrow.{key}: {message}")


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "search.narrow.model.fusion=[none]",
        "model.fusion=none",
        "search.narrow.optimizer.lr=[1,2]",
        "train.batch_size=0",
    )
    assert [line.partition(": ")[2] for line in found] == [
        "train.batch_size: input should be greater than or equal to 1, got '0'",
        "search.narrow.model.fusion: model.fusion=none fixes it for every trial; "
        "give one of the two",
        "search.narrow.optimizer.lr: 1.0 is not in this space; give [low, high] inside "
        "log_uniform [0.0001, 0.01]",
        "search.narrow.optimizer.lr: 2 is not in this space; give [low, high] inside "
        "log_uniform [0.0001, 0.01]",
    ]


def test_wishes_are_lists_by_dotted_name_however_they_are_given() -> None:
    for arguments in (
        ["search.narrow.model.backbone=resnet18", "search.narrow.optimizer.lr=[0.1,0.2]"],
        ["search.narrow={model.backbone: [resnet18], optimizer: {lr: [0.1, 0.2]}}"],
    ):
        config, detector = parse_arguments(["space=smoke", *arguments])
        assert config.search.narrow == {"model.backbone": ["resnet18"], "optimizer.lr": [0.1, 0.2]}
        assert detector == {}
    with pytest.raises(
        InputError, match=r"search\.narow: unknown key; did you mean search\.narrow"
    ):
        parse_arguments(["space=smoke", "search.narow.model.backbone=resnet18"])
    assert "search.narrow={}" in help_text(SearchArguments, program="search", description="x")


def test_a_run_keeps_its_narrowed_space(tmp_path: Path) -> None:
    narrow = "search.narrow.optimizer.lr=[1e-3,2e-3]"
    space = load(tmp_path, narrow)
    folder = tmp_path / "runs" / "first"
    given = [f"space={tmp_path / 'space.yaml'}", "name=first"]
    config, overrides = parse_arguments([*given, narrow])
    run_folder.create(folder, config, overrides, space)
    for again in ([narrow], []):
        resumed, overrides = parse_arguments([*given, "resume=true", *again])
        kept, stored = run_folder.reopen(folder, resumed, overrides, gpu=False)
        assert kept.search.narrow == {"optimizer.lr": [0.001, 0.002]}
        assert stored == space
    changes = {
        "search.narrow.optimizer.lr=[1e-3,3e-3]": r"\[0\.001, 0\.002\] in the interrupted run",
        "search.narrow.model.fusion=none": r"None in the interrupted run, \['none'\] now",
    }
    for change, message in changes.items():
        resumed, overrides = parse_arguments([*given, "resume=true", change])
        key = change.partition("=")[0]
        with pytest.raises(InputError, match=rf"a resumed run keeps.*\n{key}: {message}"):
            run_folder.reopen(folder, resumed, overrides, gpu=False)


def test_a_space_whose_name_looks_like_a_number_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search_spaces").mkdir()
    for name, space in (("012", "search_spaces/1e3"), ("1e3", "1e3"), ("0x1F", "1e3.yaml")):
        (tmp_path / space).parent.mkdir(exist_ok=True)
        (tmp_path / space).write_text(TEXT, encoding="utf-8")
        given = [f"space={space}", f"name={name}", "optimizer.lr=1e-3", "data.root=1e3"]
        config, overrides = parse_arguments(given)
        folder = tmp_path / "runs" / name
        fresh = load_space(space, gpu=True, overrides=overrides)
        run_folder.create(folder, config, overrides, fresh)
        resumed, again = parse_arguments([*given, "resume=true"])
        kept, stored = run_folder.reopen(folder, resumed, again, gpu=True)
        assert (kept.space, kept.name, stored.name) == (space, name, "1e3")
        assert stored == fresh
        assert run_folder.stored_overrides(folder) == flatten(nest(overrides))


def test_numbers_of_a_run_from_before_are_the_same_ones(tmp_path: Path) -> None:
    """Its config.yaml has `lr: 1e-3` without quotes, as YAML 1.1 writes that text."""
    space = load(tmp_path, "optimizer.lr=1e-3")
    folder = tmp_path / "runs" / "first"
    given = [f"space={tmp_path / 'space.yaml'}", "name=first", "optimizer.lr=1e-3"]
    config, overrides = parse_arguments(given)
    run_folder.create(folder, config, overrides, space)
    stored = folder / run_folder.CONFIG
    stored.write_text(stored.read_text().replace("'1e-3'", "1e-3"))
    resumed, again = parse_arguments([*given, "resume=true"])
    assert run_folder.reopen(folder, resumed, again, gpu=True)[1] == space
    resumed, again = parse_arguments([*given[:2], "resume=true", "optimizer.lr=2e-3"])
    with pytest.raises(InputError, match=r"optimizer\.lr: 0\.001 in the interrupted run"):
        run_folder.reopen(folder, resumed, again, gpu=True)


SHIPPED = [(name, gpu) for name in sorted(available_spaces()) for gpu in (True, False)]


@cache
def whole(name: str, gpu: bool) -> dict[str, Parameter]:
    return load_space(name, gpu=gpu).parameters


def part(draw: st.DrawFn, parameter: Parameter) -> list[Any]:
    """Some choices, or a range inside the parameter's."""
    if parameter.kind == "choice":
        kept = draw(st.sets(st.sampled_from(range(len(parameter.values))), min_size=1))
        return [parameter.values[i] for i in sorted(kept)]
    low, high = parameter.values
    if parameter.kind == "int":
        steps = st.integers(0, (high - low) // parameter.step)
        ends = draw(st.sets(steps, min_size=2, max_size=2))
        return [low + parameter.step * i for i in sorted(ends)]
    ends = draw(st.sets(st.floats(low, high), min_size=2, max_size=2))
    return sorted(ends)


@st.composite
def narrowings(draw: st.DrawFn) -> tuple[str, bool, dict[str, list[Any]]]:
    name, gpu = draw(st.sampled_from(SHIPPED))
    parameters = whole(name, gpu)
    keys = draw(st.sets(st.sampled_from(sorted(parameters)), min_size=1))
    return name, gpu, {key: part(draw, parameters[key]) for key in sorted(keys)}


@examples(25)
@given(narrowings(), st.integers(0, 2**31 - 1))
def test_no_sampled_point_is_outside_the_narrowed_space(
    narrowing: tuple[str, bool, dict[str, list[Any]]], seed: int
) -> None:
    name, gpu, narrow = narrowing
    space = load_space(name, gpu=gpu, narrow=narrow)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    points = [*space.warm_start, *(space.suggest(study.ask()) for _ in range(10))]
    for point in points:
        for key, wish in narrow.items():
            if key not in point:
                continue
            if whole(name, gpu)[key].kind == "choice":
                assert point[key] in wish
            else:
                assert wish[0] <= point[key] <= wish[1]
            assert whole(name, gpu)[key].contains(point[key])
        space.train_config(point)
