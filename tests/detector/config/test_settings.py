from __future__ import annotations

import pytest
from pydantic import ValidationError

from detector.config.cli import build, parse_arguments
from detector.config.postprocess import combinations
from detector.config.sections import field_names, flatten, nest
from detector.config.settings import (
    PostprocessConfig,
    SweepConfig,
    TrainConfig,
    as_kept,
    with_values,
)
from detector.core.errors import InputError
from detector.postprocess.sweep import around


def test_defaults_are_valid_and_frozen():
    config = TrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.train.epochs = 3  # type: ignore[misc]


def test_nest_and_flatten_are_inverse():
    flat = {"a": 1, "b.c": 2, "b.d.e": 3}
    assert flatten(nest(flat)) == flat


@pytest.mark.parametrize("keys", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}])
def test_a_key_cannot_be_value_and_section(keys: dict):
    with pytest.raises(InputError, match="a"):
        nest(keys)


def test_every_field_has_a_description_and_a_dotted_name():
    names = field_names(TrainConfig)
    assert "postprocess.box_thresh" in names
    assert len(names) == len(set(names)) == len(flatten(TrainConfig().model_dump()))
    for section in TrainConfig.model_fields.values():
        for name, info in section.annotation.model_fields.items():  # type: ignore[union-attr]
            assert info.description, name


def test_with_values_replaces_and_checks_everything():
    config = with_values(TrainConfig(), {"loss.negative_ratio": 3.5, "train.epochs": 2})
    assert (config.loss.negative_ratio, config.train.epochs) == (3.5, 2)
    with pytest.raises(InputError) as caught:
        with_values(TrainConfig(), {"loss.negative_ratio": 0, "model.backbon": "x"})
    assert "loss.negative_ratio: input should be greater than 0, got 0" in str(caught.value)
    assert "model.backbon: unknown key; did you mean model.backbone" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment.crop_px": 100}, "crop_px must be a multiple of 32, got 100"),
        ({"augment.scale_min": 2.0}, "scale_min must not exceed scale_max, got 2.0 > 1.5"),
        ({"targets.threshold_min": 0.8}, "threshold_min must be below threshold_max"),
        (
            {"data.longest_side_px": 4096, "preprocess.test_scale": 2.5},
            "must lie between 32 and 8192 px, got 2.5 and 4096",
        ),
        (
            {"loss.probability_weight": 0, "loss.binary_weight": 0},
            "nothing would be learnt",
        ),
        ({"optimizer.lr": float("nan")}, "finite"),
        ({"optimizer.lr": 0}, r"^optimizer.lr: input should be greater than 0, got 0$"),
        ({"optimizer.layer_decay": 0}, "greater than 0, got 0"),
        ({"optimizer.layer_decay": 1.1}, "less than or equal to 1, got 1.1"),
        (
            {"postprocess.unclip": "exact", "postprocess.shrink_ratio": 0.5},
            r"^postprocess.shrink_ratio must equal targets.shrink_ratio with "
            r"postprocess.unclip=exact, got 0.5 and 0.4; set postprocess.shrink_ratio=0.4$",
        ),
        (
            {"postprocess.shrink_ratio": 0.3, "targets.shrink_ratio": 0.5},
            r"^postprocess.shrink_ratio must equal targets.shrink_ratio with exact in "
            r"sweep.unclip, got 0.3 and 0.5; set postprocess.shrink_ratio=0.5$",
        ),
        (
            {"sweep.choose": True, "train.sweep": False},
            r"^sweep.choose=true needs train.sweep=true, .* got train.sweep=false; set it to true",
        ),
        (
            {"sweep.shape": "oval"},
            r"^sweep.shape.0: input should be 'quad' or 'polygon', got 'oval'$",
        ),
        ({"sweep.thresh": [0.2, 1]}, r"^sweep.thresh.1: input should be less than 1, got 1$"),
        ({"sweep.dilate": []}, r"^sweep.dilate: needs a value to try, or null"),
        ({"sweep.shap": ["quad"]}, r"^sweep.shap: unknown key; did you mean sweep.shape"),
        (
            {"sweep.thresh": [i / 100 for i in range(1, 42)], "sweep.unclip_ratio": [1, 2, 3]},
            r"^sweep: must make at most 200 combinations of settings that change the regions, .* "
            r"got 205 of 41 thresh, 3 unclip_ratio, 2 shape, 2 unclip; list fewer values$",
        ),
        (
            {"sweep.box_thresh": [i / 3000 for i in range(2400)]},
            r"^sweep: must make at most 20000 combinations, .* got 21600 of 3 thresh, "
            r"2400 box_thresh, 2 shape, 2 unclip; list fewer values$",
        ),
    ],
)
def test_rules_between_fields(values: dict, message: str):
    with pytest.raises(InputError, match=message):
        with_values(TrainConfig(), values)


def test_what_is_undone_is_what_was_trained_where_nothing_else_is_given():
    config = with_values(TrainConfig(), {"targets.shrink_ratio": 0.5})
    assert config.postprocess == PostprocessConfig(shrink_ratio=0.5)
    assert with_values(config, {"train.epochs": 3}).postprocess.shrink_ratio == 0.5
    assert build(TrainConfig, parse_arguments(["targets.shrink_ratio=0.5"])) == config
    assert TrainConfig().postprocess.shrink_ratio == TrainConfig().targets.shrink_ratio


@pytest.mark.parametrize(
    ("unclip", "swept", "undone"),
    [
        *[("ratio", None, 0.5), ("ratio", ["ratio"], 0.5)],
        *[("exact", None, 0.4), ("ratio", ["exact"], 0.4), ("ratio", "exact", 0.4)],
    ],
)
def test_what_a_training_kept_and_did_not_use_is_what_was_trained(
    unclip: str, swept: list[str] | str | None, undone: float
):
    """Trainings used to keep 0.4 there whatever they trained with."""
    kept = {
        "targets": {"shrink_ratio": 0.5},
        "postprocess": {"unclip": unclip, "shrink_ratio": 0.4},
        "sweep": {"unclip": swept},
    }
    assert as_kept(kept)["postprocess"]["shrink_ratio"] == undone
    assert as_kept(kept | {"targets": 3}) == kept | {"targets": 3}
    assert as_kept([1]) == [1]


def test_values_to_sweep_are_read_from_the_command_line():
    """One alone or a list, as post-processing reads them; null keeps the configured one."""
    given = ["sweep.shape=[quad,polygon]", "sweep.unclip=ratio", "sweep.dilate=[true,false]"]
    given += ["sweep.thresh=null", "sweep.min_side_px=[2,3]", "sweep.max_candidates=500"]
    config = build(TrainConfig, parse_arguments(given))
    assert config.sweep.tried() == {
        "box_thresh": TrainConfig().sweep.box_thresh,
        "max_candidates": (500,),
        "min_side_px": (2.0, 3.0),
        "shape": ("quad", "polygon"),
        "dilate": (True, False),
        "unclip": ("ratio",),
    }
    assert with_values(TrainConfig(), flatten(config.model_dump(mode="json"))) == config
    assert config.sweep.own() == {"box_thresh", "shape"}  # as they are by default
    assert SweepConfig().own() == SweepConfig().tried().keys()


@pytest.mark.parametrize("shape", [None, ["quad"], ["polygon"], ["quad", "polygon"]])
@pytest.mark.parametrize("unclip", [None, ["ratio"], ["exact"], ["ratio", "exact"]])
@pytest.mark.parametrize("ratios", [None, [1.3, 1.7, 1.9]])
def test_combinations_are_those_that_a_sweep_makes(shape, unclip, ratios):
    sweep = SweepConfig(shape=shape, unclip=unclip, unclip_ratio=ratios, thresh=(0.2, 0.4))
    # Around settings that are in none of the lists.
    made = around(PostprocessConfig(box_thresh=0.01), sweep.tried())[1:]
    assert combinations(sweep.tried(), sweep.tried().keys()) == len(made)


def test_every_value_of_a_sweep_is_one_that_post_processing_takes():
    tried = {key: field for key, field in SweepConfig.model_fields.items() if key != "choose"}
    assert tried.keys() == PostprocessConfig.model_fields.keys() - {"shrink_ratio"}
    for key, value in PostprocessConfig().model_dump().items():
        if key in tried:
            assert getattr(SweepConfig(**{key: value}), key) == (value,)
    for key, value in {"thresh": 0, "box_thresh": -1, "unclip_ratio": 11, "epsilon": 0.3}.items():
        for section in (SweepConfig, PostprocessConfig):
            with pytest.raises(ValidationError):
                section(**{key: value})
