from __future__ import annotations

import pytest

from detector.config.cli import build
from detector.config.help import keys, rule
from detector.config.inference import DetectorSettings, Replaced
from detector.config.settings import TrainConfig
from detector.core.errors import InputError
from detector.evaluate import EvaluateSettings
from detector.export import ExportSettings
from detector.inspect import InspectConfig
from detector.predict import PredictSettings
from detector.tune_postprocess import Settings

COMMANDS = (EvaluateSettings, ExportSettings, InspectConfig, PredictSettings, Settings)


def test_what_is_given_is_kept_apart_from_what_is_not():
    given = {
        "data.longest_side_px": "1536",
        "preprocess.shortest_side_px": None,
        "preprocess.tile_px": "1024",
        "postprocess.box_thresh": "0.4",
    }
    settings = build(DetectorSettings, given | {"checkpoint": "best", "tta.flip": "true"})
    assert settings.given() == {
        "data.longest_side_px": 1536,
        "preprocess.shortest_side_px": None,
        "preprocess.tile_px": 1024,
        "postprocess.box_thresh": 0.4,
    }
    assert build(DetectorSettings, {"checkpoint": "best"}).given() == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_all_commands_take_the_same_settings_with_the_rules_of_a_training(command):
    own, training = dict(keys(command)), dict(keys(TrainConfig))
    shared = [key for key, _ in keys(Replaced)]
    assert len(shared) > 20
    for key in shared:
        assert rule(key, own[key]) == rule(key, training[key])
    assert own["postprocess.thresh"].description == training["postprocess.thresh"].description


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_that_only_a_training_uses_are_called_so(command):
    given = {"checkpoint": "best", "optimizer.lr": "1", "data.train_pages": "3"}
    message = "^optimizer.lr, data.train_pages: only a training uses"
    with pytest.raises(InputError, match=message):
        build(command, given)


def test_faults_name_the_key_and_the_nearest_one():
    for given, message in (
        ({"preprocess.tile_px": "100"}, "preprocess.tile_px: input should be a multiple of 32"),
        ({"preprocess.longest_side_px": "9"}, "longest_side_px: unknown key; did you mean .*data."),
    ):
        with pytest.raises(InputError, match=message):
            build(DetectorSettings, given | {"checkpoint": "best"})
