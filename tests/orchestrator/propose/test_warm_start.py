"""Warm starts read from run folders that the project's own writers made."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detector.core.errors import InputError
from orchestrator.config.settings import SearchConfig
from orchestrator.propose.proposals import propose
from orchestrator.propose.warm_start import points_for
from orchestrator.results.leaderboard import write_leaderboard
from orchestrator.run import run_folder
from orchestrator.run.command_line import parse_arguments
from orchestrator.space.search_space import SearchSpace, load_space
from orchestrator.trials.records import TrialRecord, TrialState

FINISHED, STOPPED, FAILED = TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED
OTHER = """\
fixed: {loss.threshold_weight: 12, augment.flip: 0.5}
parameters:
  optimizer.lr: {log_uniform: [1e-5, 1e-1]}
  model.fusion: {choice: [none, scale_spatial, scale_channel_spatial]}
  postprocess.thresh: {uniform: [0.1, 0.9]}
"""
SPACE = """\
fixed: {postprocess.thresh: 0.25}
parameters:
  optimizer.lr: {log_uniform: [1e-4, 1e-2]}
  model.fusion: {choice: [none, scale_spatial]}
  loss.threshold_weight: {uniform: [5, 15]}
"""


def space_of(folder: Path, text: str = SPACE, name: str = "space") -> SearchSpace:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space(str(path), gpu=True)


def trial(
    number: int, hmean: float | None, state: TrialState = FINISHED, **params: Any
) -> TrialRecord:
    values = {"optimizer.lr": 0.001, "model.fusion": "none", "postprocess.thresh": 0.25}
    names = {"lr": "optimizer.lr", "fusion": "model.fusion", "thresh": "postprocess.thresh"}
    values |= {names[key]: value for key, value in params.items()}
    return TrialRecord(f"{number:05d}", state, values, hmean=hmean, epochs=1)


def run_of(folder: Path, records: list[TrialRecord], text: str = OTHER, name: str = "other") -> str:
    space = space_of(folder / "files", text, name)
    run = folder / "runs" / name
    run_folder.create(run, SearchConfig(space=name), {}, space)
    write_leaderboard(run, records, list(space.parameters))
    return str(run)


def test_the_best_finished_trials_come_first_with_the_other_runs_fixed_settings(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path, [trial(0, 0.25, lr=0.002), trial(1, 0.75), trial(2, 0.5, lr=0.003)])
    points, notes = points_for(run, space_of(tmp_path))
    assert points == tuple(
        {"optimizer.lr": lr, "model.fusion": "none", "loss.threshold_weight": 12.0}
        for lr in (0.001, 0.003, 0.002)
    )
    assert notes == ()


def test_only_finished_trials_with_a_score_count(tmp_path: Path) -> None:
    records = [
        trial(0, 0.99, STOPPED, lr=0.002),
        trial(1, 0.98, FAILED, lr=0.003),
        trial(2, 0.97, TrialState.RUNNING, lr=0.004),
        trial(3, None, TrialState.PENDING, lr=0.005),
        trial(4, float("nan"), lr=0.006),
        trial(5, 0.1, lr=0.007),
    ]
    points, _ = points_for(run_of(tmp_path, records), space_of(tmp_path))
    assert [point["optimizer.lr"] for point in points] == [0.007]


def test_stopped_trials_stand_in_when_none_finished(tmp_path: Path) -> None:
    records = [trial(0, 0.25, STOPPED), trial(1, 0.5, STOPPED, lr=0.002), trial(2, 0.75, FAILED)]
    run = run_of(tmp_path, records)
    points, notes = points_for(run, space_of(tmp_path))
    assert [point["optimizer.lr"] for point in points] == [0.002, 0.001]
    assert notes == (
        f"warm_start: {run}: no trial was finished; those that were stopped early are tried "
        "instead",
    )


def test_a_point_outside_the_space_is_dropped_and_every_setting_of_it_named(
    tmp_path: Path,
) -> None:
    records = [trial(0, 0.75, lr=0.05, fusion="scale_channel_spatial"), trial(1, 0.5)]
    run = run_of(tmp_path, records)
    points, notes = points_for(run, space_of(tmp_path))
    assert [point["optimizer.lr"] for point in points] == [0.001]
    assert notes == (
        f"warm_start: {run}: trial 00000 is not tried: optimizer.lr: 0.05 is outside "
        "log_uniform [0.0001, 0.01]; model.fusion: scale_channel_spatial is outside "
        "one of none, scale_spatial",
    )


def test_settings_that_are_not_searched_are_left_out_and_told(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(0, 0.75, thresh=0.3)])
    points, notes = points_for(run, space_of(tmp_path))
    assert "postprocess.thresh" not in points[0]
    assert notes == (f"warm_start: {run}: fixed here, so not taken over: postprocess.thresh=0.25",)
    free = SPACE.replace("postprocess.thresh: 0.25", "")
    _, notes = points_for(run, space_of(tmp_path, free))
    assert notes == (f"warm_start: {run}: not searched here, so left out: postprocess.thresh",)


def test_equal_points_are_tried_once(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(0, 0.75, thresh=0.3), trial(1, 0.5, thresh=0.4)])
    assert len(points_for(run, space_of(tmp_path))[0]) == 1


def test_a_partial_point_leaves_the_rest_to_the_sampler(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(0, 0.75)])
    space = space_of(tmp_path, SPACE + "  loss.negative_ratio: {uniform: [2, 5]}\n")
    points, notes = points_for(run, space)
    assert notes == (f"warm_start: {run}: has no value, so the sampler draws: loss.negative_ratio",)
    drawn = propose([], replace(space, warm_start=points), seed=0).params
    assert {key: drawn[key] for key in points[0]} == points[0]
    assert 2 <= drawn["loss.negative_ratio"] <= 5


@pytest.mark.parametrize(
    ("allowed", "value"), [("none", "none"), ("[runs/a, none]", "none"), ("[runs/a, runs/b]", None)]
)
def test_a_setting_that_others_depend_on_is_what_they_need(
    tmp_path: Path, allowed: str, value: str | None
) -> None:
    """A run from before there were whole detectors to start from; of several, the default."""
    space = space_of(
        tmp_path,
        "parameters:\n  train.init: {choice: [none, ppocrv6_small, runs/a, runs/b]}\n"
        f"  model.fusion: {{choice: [none, scale_spatial], when: {{train.init: {allowed}}}}}\n",
    )
    points, notes = points_for(run_of(tmp_path, [trial(0, 0.75, fusion="scale_spatial")]), space)
    assert points[0].get("train.init") == value
    assert points[0]["model.fusion"] == "scale_spatial"
    assert any("so the sampler draws: train.init" in note for note in notes) == (value is None)


@pytest.mark.parametrize(("fusion", "tried"), [("none", False), ("scale_spatial", True)])
def test_a_setting_whose_condition_fails_is_no_part_of_the_point(
    tmp_path: Path, fusion: str, tried: bool
) -> None:
    """0.5 is out of the range, which matters only where the setting applies."""
    space = space_of(
        tmp_path,
        "parameters:\n  model.fusion: {choice: [none, scale_spatial]}\n"
        "  augment.flip: {uniform: [0, 0.4], when: {model.fusion: scale_spatial}}\n",
    )
    run = run_of(tmp_path, [trial(0, 0.75, fusion=fusion)])
    if tried:
        with pytest.raises(InputError, match=r"augment.flip: 0.5 is outside uniform \[0.0, 0.4\]"):
            points_for(run, space)
    else:
        points, notes = points_for(run, space)
        assert points == ({"model.fusion": "none"},)
        assert not any("augment.flip" in note for note in notes)


def test_a_conditional_setting_is_drawn_only_where_it_may_apply(tmp_path: Path) -> None:
    text = (
        "parameters:\n  model.fusion: {choice: [none, scale_spatial]}\n"
        "  loss.negative_ratio: {uniform: [2, 5], when: {model.fusion: scale_spatial}}\n"
    )
    run = run_of(tmp_path, [trial(0, 0.75)])
    _, notes = points_for(run, space_of(tmp_path, text))
    assert not any("draws" in note for note in notes)


def test_a_whole_point_that_the_detector_refuses_is_dropped(tmp_path: Path) -> None:
    text = (
        "parameters:\n  loss.probability_weight: {choice: [0.0, 5.0]}\n"
        "  loss.binary_weight: {choice: [0.0, 1.0]}\n"
    )
    record = TrialRecord(
        "00000", FINISHED, {"loss.probability_weight": 0.0, "loss.binary_weight": 0.0}, hmean=0.5
    )
    run = run_of(tmp_path, [record], text)
    with pytest.raises(InputError, match="are both 0: nothing would be learnt"):
        points_for(run, space_of(tmp_path, text))


def test_the_limit_keeps_the_best(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(i, i / 10, lr=(i + 1) / 1000) for i in range(4)])
    points, notes = points_for(run, space_of(tmp_path), limit=2)
    assert [point["optimizer.lr"] for point in points] == [0.004, 0.003]
    assert notes == (f"warm_start: {run}: the best 2 of 4 points are tried",)


def test_no_usable_point_says_why_for_each(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(0, 0.75, lr=0.05), trial(1, 0.5, lr=0.06)])
    with pytest.raises(InputError) as caught:
        points_for(run, space_of(tmp_path))
    assert str(caught.value).splitlines() == [
        f"warm_start: {run} has no point that this space can try; widen the space, or start "
        "from something else",
        f"{run}: trial 00000 is not tried: optimizer.lr: 0.05 is outside "
        "log_uniform [0.0001, 0.01]",
        f"{run}: trial 00001 is not tried: optimizer.lr: 0.06 is outside "
        "log_uniform [0.0001, 0.01]",
    ]


def test_a_run_that_shares_no_setting(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(0, 0.75)])
    space = space_of(tmp_path, "parameters:\n  augment.rotate_deg: {uniform: [0, 9]}\n")
    with pytest.raises(
        InputError, match="trial 00000 is not tried: it shares no setting with this space"
    ):
        points_for(run, space)


def test_a_run_without_a_score(tmp_path: Path) -> None:
    run = run_of(tmp_path, [trial(0, 0.75, FAILED), trial(1, None, TrialState.RUNNING)])
    message = (
        f"warm_start: {run} has no trial with a score among 2; let it finish one, or start from "
        "another run"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        points_for(run, space_of(tmp_path))


def test_no_such_run_lists_those_there_are(tmp_path: Path) -> None:
    first = run_of(tmp_path, [trial(0, 0.5)], name="first")
    second = run_of(tmp_path, [trial(0, 0.5)], name="second")
    wanted = tmp_path / "runs" / "frist"
    message = (
        f"warm_start: there is no run at {wanted}; did you mean {first}? "
        f"runs in {tmp_path / 'runs'}: {first}, {second}; or give published"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        points_for(str(wanted), space_of(tmp_path))


def test_a_name_is_looked_for_among_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(tmp_path, [trial(0, 0.5)], name="first")
    monkeypatch.chdir(tmp_path)
    space = space_of(tmp_path)
    with pytest.raises(
        InputError, match=r"no run at first; did you mean runs/first\? runs in runs"
    ):
        points_for("first", space)
    with pytest.raises(InputError, match=r"no run at publishd; did you mean published\?"):
        points_for("publishd", space)
    with pytest.raises(InputError, match=r"runs in elsewhere: none; or give published"):
        points_for("elsewhere/first", space)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    message = f"warm_start: {tmp_path / 'photos'} is not a run's folder (space.yaml is missing); "
    with pytest.raises(InputError, match=f"^{re.escape(message)}runs in "):
        points_for(str(tmp_path / "photos"), space_of(tmp_path))


def test_a_run_without_a_leaderboard(tmp_path: Path) -> None:
    run = run_of(tmp_path, [])
    Path(run, "leaderboard.json").unlink()
    message = (
        f"{run}/leaderboard.json: cannot be read: No such file or directory; write it again with "
        f"python -m orchestrator.report run={run}"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        points_for(run, space_of(tmp_path))


def test_a_broken_leaderboard_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, [])
    Path(run, "leaderboard.json").write_text("{")
    with pytest.raises(InputError, match=r"leaderboard.json: not a leaderboard"):
        points_for(run, space_of(tmp_path))


def test_the_published_rows_best_first() -> None:
    space = load_space("published", gpu=True)
    points, notes = points_for("published", space)
    by_score = sorted(space.published, key=lambda row: -row.hmean)
    assert points == tuple(row.point for row in by_score)[:8]
    assert notes == ("warm_start: published: the best 8 of 22 points are tried",)


def test_published_rows_in_a_space_that_searches_more() -> None:
    """dbnetpp has no plain DBNet; loss weights are the entries'."""
    points, notes = points_for("published", load_space("dbnetpp", gpu=True))
    assert points[0] == {
        "train.init": "none",  # the tables know of no other start, and have backbones
        "model.backbone": "hrnet_w44",
        "model.fusion": "scale_spatial",
        "optimizer.lr": 0.001,
        "loss.negative_ratio": 3.0,
        "loss.probability_weight": 5.0,
        "loss.threshold_weight": 10.0,
        "loss.binary_weight": 1.0,
        "postprocess.box_thresh": 0.4,
        "postprocess.max_candidates": 300,
    }
    assert {point["model.backbone"] for point in points} == {
        *("hrnet_w44", "convnext_base", "hrnet_w18", "convnext_tiny", "resnet18")
    }
    assert (
        "warm_start: published: row 'U: DBNet, ResNet18' is not tried: model.fusion: none is "
        "outside one of scale_spatial, scale_channel_spatial"
    ) in notes


def test_published_rows_on_a_cpu_take_the_backbones_that_stand_in() -> None:
    points, notes = points_for("published", load_space("dbnetpp", gpu=False))
    assert {point["model.backbone"] for point in points} == {"tf_efficientnet_lite0"}
    assert notes[0] == (
        "warm_start: published: light backbones stand in for the published ones, none of which "
        "is searched"
    )


def test_published_rows_that_no_space_can_try(tmp_path: Path) -> None:
    text = "parameters:\n  model.backbone: {choice: [dla34]}\n"
    with pytest.raises(InputError, match=r"^warm_start: published has no point") as caught:
        points_for("published", space_of(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1 + 22  # rows


def test_the_setting_is_one_of_the_search(tmp_path: Path) -> None:
    config, detector = parse_arguments(["space=dbnetpp", "warm_start=runs/first"])
    assert (config.warm_start, detector) == ("runs/first", {})
    with pytest.raises(InputError, match="warm_start"):
        parse_arguments(["space=dbnetpp", "warm_start="])
    run = Path(run_of(tmp_path, []))
    with pytest.raises(
        InputError, match="warm_start: None in the interrupted run, 'published' now"
    ):
        run_folder.reopen(
            run, SearchConfig(space="other", name="other", warm_start="published"), {}, gpu=True
        )
