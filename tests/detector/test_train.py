from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from detector.checkpoint import read_best
from detector.cli import run
from detector.config import TrainConfig
from detector.train import TrainSettings, main


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        run(main, TrainSettings, program="x", description="", arguments=arguments)
    return int(stop.value.code or 0)


def test_a_config_file_is_trained_with_what_the_command_line_changes(
    tiny: Callable[..., TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(tiny().model_dump(mode="json")))
    out = tmp_path / "out"
    assert command(f"config={file}", "train.epochs=2", "train.seed=5", f"output={out}") == 0
    config = read_best(out)[1]
    assert (config.train.epochs, config.train.seed) == (2, 5)
    assert config.model == tiny().model
    said = capsys.readouterr().err
    assert "epoch 2/2" in said
    assert f"python -m detector.evaluate checkpoint={out}/checkpoint/best" in said

    # A finished training is not touched by accident, and resuming it does nothing.
    arguments = (f"config={file}", "train.epochs=2", "train.seed=5", f"output={out}")
    assert command(*arguments) == 2
    assert "holds a training already; add resume=true" in capsys.readouterr().err
    assert command(*arguments, "resume=true") == 0
    assert command(*arguments[:1], "train.epochs=3", *arguments[2:], "resume=true") == 2
    assert "train.epochs: 2 when it was saved, 3 now" in capsys.readouterr().err


def test_without_data_it_says_what_to_add(capsys: pytest.CaptureFixture[str]):
    assert command() == 2
    assert "data.root: no dataset folder given; add data.root=FOLDER" in capsys.readouterr().err
