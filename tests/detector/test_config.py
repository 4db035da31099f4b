from __future__ import annotations

import pytest
from pydantic import ValidationError

from detector.config import TrainConfig, with_values
from detector.errors import InputError
from detector.settings import field_names, flatten, nest


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
            {"loss.probability_weight": 0, "loss.binary_weight": 0},
            "nothing would be learnt",
        ),
        ({"optimizer.lr": float("nan")}, "finite"),
        ({"optimizer.lr": 0}, r"^optimizer.lr: input should be greater than 0, got 0$"),
        ({"optimizer.layer_decay": 0}, "greater than 0, got 0"),
        ({"optimizer.layer_decay": 1.1}, "less than or equal to 1, got 1.1"),
        (
            {"postprocess.unclip": "exact", "targets.shrink_ratio": 0.5},
            r"^postprocess.shrink_ratio must equal targets.shrink_ratio with "
            r"postprocess.unclip=exact, got 0.4 and 0.5; set postprocess.shrink_ratio=0.5$",
        ),
    ],
)
def test_rules_between_fields(values: dict, message: str):
    with pytest.raises(InputError, match=message):
        with_values(TrainConfig(), values)
