"""Post-processing taken out of a space and into the sweep of each training."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config.settings import SweepConfig, TrainConfig
from detector.core.errors import InputError
from orchestrator.space.nested import mode_of, nested
from orchestrator.space.parameters import Budget, Parameter
from orchestrator.space.search_space import SearchSpace, load_space

RATIO, THRESH, SHAPE = "loss.negative_ratio", "postprocess.box_thresh", "postprocess.shape"
TRAINED = Parameter(RATIO, "uniform", (1.0, 8.0))


def make_space(*parameters: Parameter, warm_start=(), **fixed) -> SearchSpace:
    return SearchSpace(
        name="test",
        description="",
        fixed={key.replace("__", "."): value for key, value in fixed.items()},
        parameters={p.key: p for p in (TRAINED, *parameters)},
        warm_start=tuple(warm_start),
        budget=Budget(trials=4, epochs=4, grace_epochs=1, reduction_factor=2),
    )


def sweep_of(space: SearchSpace) -> SweepConfig:
    return space.train_config({RATIO: 3.0}).sweep


def test_searched_settings_become_the_values_of_the_sweep():
    space = nested(
        make_space(
            Parameter(THRESH, "uniform", (0.3, 0.6)),
            Parameter(SHAPE, "choice", ("quad", "polygon")),
            Parameter("postprocess.max_candidates", "int", (300, 1000), step=100),
        )
    )
    assert list(space.parameters) == [RATIO]
    sweep = sweep_of(space)
    expected = (0.3, 0.33, 0.36, 0.39, 0.42, 0.45, 0.48, 0.51, 0.54, 0.57, 0.6)
    assert sweep.box_thresh == pytest.approx(expected)
    assert sweep.shape == ("quad", "polygon")
    assert sweep.max_candidates == (300, 500, 700, 800, 1000)  # 1.75 and 5.25 steps, to even
    assert sweep.choose
    default = SweepConfig()
    assert (sweep.thresh, sweep.unclip_ratio) == (default.thresh, default.unclip_ratio)


def test_a_fixed_setting_is_not_swept_unless_values_are_given():
    space = nested(make_space(postprocess__thresh=0.35, postprocess__unclip_ratio=1.7))
    assert (sweep_of(space).thresh, sweep_of(space).unclip_ratio) == (None, None)
    assert sweep_of(space).box_thresh == SweepConfig().box_thresh
    space = nested(make_space(postprocess__thresh=0.35, sweep__thresh=[0.3, 0.4]))
    assert sweep_of(space).thresh == (0.3, 0.4)


def test_values_of_warm_starts_are_tried_and_equal_trainings_are_one():
    points = [{RATIO: 3.0, THRESH: 0.47}, {RATIO: 3.0, THRESH: 0.5}, {RATIO: 2.0, THRESH: 0.5}]
    space = nested(make_space(Parameter(THRESH, "uniform", (0.3, 0.6)), warm_start=points))
    assert space.warm_start == ({RATIO: 3.0}, {RATIO: 2.0})
    assert {0.47, 0.5} < set(sweep_of(space).box_thresh or ())
    assert space.fixed[THRESH] == 0.47
    assert space.notes == (
        f"chosen after each training, not sampled: {THRESH} (postprocess=nested)",
        "1 warm starts differ from others in post-processing alone: trained once",
    )


@pytest.mark.parametrize(("low", "configured"), [(0.4, 0.5), (0.6, 0.6)])
def test_the_configured_setting_lies_in_the_range(low, configured):
    space = nested(make_space(Parameter(THRESH, "uniform", (low, 0.8))))
    assert space.fixed[THRESH] == configured


def test_twice_is_once_and_a_stored_space_stays_nested(tmp_path: Path):
    once = nested(make_space(Parameter(THRESH, "uniform", (0.3, 0.6)), postprocess__thresh=0.35))
    assert nested(once) == once
    (tmp_path / "space.yaml").write_text(once.to_yaml())
    again = load_space(str(tmp_path / "space.yaml"), gpu=True, overrides={"data.root": "pages"})
    assert sweep_of(nested(again)) == sweep_of(once)


def test_training_that_depends_on_postprocessing_is_refused():
    dependent = Parameter("targets.shrink_ratio", "uniform", (0.3, 0.5), when={SHAPE: ("quad",)})
    shape = Parameter(SHAPE, "choice", ("quad", "polygon"))
    shrink = Parameter("postprocess.shrink_ratio", "uniform", (0.3, 0.5))
    with pytest.raises(InputError) as caught:
        nested(make_space(shape, dependent, shrink))
    assert str(caught.value).splitlines() == [
        "targets.shrink_ratio: is searched only when postprocess.shape allows it, which is chosen "
        "after the training; add postprocess=joint to search them together",
        "postprocess.shrink_ratio: cannot be chosen after the training; add postprocess=joint to "
        "search them together",
    ]


@pytest.mark.parametrize(
    ("fixed", "wish", "mode"),
    [
        ({}, None, "nested"),
        ({"sweep__choose": False}, None, "joint"),
        ({"train__sweep": False}, None, "joint"),
        ({"sweep__choose": False}, "nested", "nested"),
        ({}, "joint", "joint"),
    ],
)
def test_the_mode_is_the_wish_then_the_spaces(fixed, wish, mode):
    assert mode_of(make_space(**fixed), wish) == mode


@given(
    st.sampled_from(["uniform", "log_uniform", "int"]),
    st.integers(1, 500),
    st.integers(0, 500),
    st.integers(1, 7),
)
def test_a_range_keeps_its_ends_and_stays_inside(kind, low, length, step):
    step = step if kind == "int" else 1
    high = low + length * step
    scale = 1 if kind == "int" else 1000
    parameter = Parameter(
        "postprocess.max_candidates" if kind == "int" else THRESH,
        kind,
        (low / scale, high / scale) if scale > 1 else (low, high),
        step=step,
    )
    if high / scale > 1 and kind != "int":
        return
    space = nested(make_space(parameter))
    values = space.fixed[parameter.key.replace("postprocess.", "sweep.")]
    assert list(values) == sorted(set(values))
    assert (values[0], values[-1]) == parameter.values
    assert all(parameter.contains(value) for value in values)
    TrainConfig.model_validate({"sweep": {parameter.key.split(".")[1]: values}})
