from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from detector.config.cli import build, guarded, help_text, parse_arguments, read_yaml, run
from detector.config.sections import Section
from detector.config.settings import TrainConfig
from detector.core.errors import InputError, JobError


class Settings(Section):
    root: Path = Field(description="where the data is")
    count: int = Field(3, ge=1, le=9, description="how many")
    mode: Literal["fast", "slow"] = Field("fast", description="how")
    verbose: bool = Field(False, description="say more")
    config: Path | None = Field(None, description="file of settings")


def test_arguments_become_a_flat_mapping():
    assert parse_arguments(["a.b=1", "c=[1, 2]", "d=null", "e=x=y"]) == {
        "a.b": "1",
        "c": [1, 2],
        "d": None,
        "e": "x=y",
    }


@pytest.mark.parametrize("argument", ["seed", "--seed=1", "=1"])
def test_anything_but_key_value_is_refused_with_the_form(argument: str):
    with pytest.raises(InputError, match="arguments are key=value"):
        parse_arguments([argument])


def test_a_key_given_twice_is_refused():
    with pytest.raises(InputError, match=r"seed: given twice"):
        parse_arguments(["seed=1", "seed=2"])


def test_broken_list_names_the_key():
    with pytest.raises(InputError, match=r"c: '\[1, ': not valid YAML"):
        parse_arguments(["c=[1, "])


def test_text_is_converted_by_the_settings():
    got = build(Settings, parse_arguments(["root=/tmp/x", "count=5", "verbose=true"]))
    assert got == Settings(root=Path("/tmp/x"), count=5, verbose=True)


def test_all_faults_are_reported_at_once():
    with pytest.raises(InputError) as caught:
        build(Settings, {"count": "12", "mode": "medium", "cuont": "1"})
    text = str(caught.value)
    assert "root: field required" in text
    assert "count: input should be less than or equal to 9, got '12'" in text
    assert "mode: input should be 'fast' or 'slow', got 'medium'" in text
    assert "cuont: unknown key; did you mean count" in text


def test_scientific_notation_is_a_number():
    config = build(TrainConfig, parse_arguments(["optimizer.lr=1e-3"]))
    assert config.optimizer.lr == 0.001


def test_help_gives_default_range_and_meaning():
    text = help_text(Settings, program="python -m x", description="Does x.")
    assert "root=(required)" in text
    assert "count=3\n      how many; 1 <= value <= 9" in text
    assert "one of fast | slow" in text
    assert "verbose=false" in text


def test_help_lists_every_setting_of_a_training():
    text = help_text(TrainConfig, program="x", description="")
    assert "loss.negative_ratio=3.0" in text
    assert "null = none; auto or a path\n" in " ".join(text.split("\n      "))
    assert "null = adamw 0.001, sgd 0.007; 0 < value <= 1\n" in text
    assert text.count("=") > 60


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("bad key"), 2, "error: bad key"),
        (JobError("diverged"), 1, "failed: diverged"),
        (OSError(28, "No space left on device", "f.bin"), 1, "f.bin: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_known_failures_have_an_exit_code_and_no_traceback(capsys, error, code, text):
    def job() -> int:
        raise error

    assert guarded(job) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_reader_that_goes_away_gives_no_traceback():
    """As in `python -m detector.train --help | head -1`."""
    shell = f"{sys.executable} -m detector.train --help | head -1"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: python -m detector.train")
    assert done.stderr == ""


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)


def test_command_line_wins_over_the_config_file(tmp_path: Path):
    file = tmp_path / "base.yaml"
    file.write_text("root: /data\ncount: 4\nmode: slow\n")
    seen = []
    with pytest.raises(SystemExit) as stop:
        run(
            seen.append,
            Settings,
            program="x",
            description="",
            arguments=[f"config={file}", "count=5"],
        )
    assert stop.value.code == 0
    assert (seen[0].root, seen[0].count, seen[0].mode) == (Path("/data"), 5, "slow")


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [1,", "not valid YAML"), ("- 1\n- 2\n", "must hold `key: value` lines, got list")],
)
def test_unusable_yaml_names_the_file(tmp_path: Path, content: str, message: str):
    file = tmp_path / "base.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)


def test_yaml_cannot_build_objects(tmp_path: Path):
    file = tmp_path / "evil.yaml"
    file.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(InputError, match="not valid YAML"):
        read_yaml(file)


def test_missing_yaml_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "\\u2026 \\xb1"), ("latin-1", "\\u2026 ±"), ("utf-8", "… ±")]
)
def test_letters_that_a_terminal_lacks_are_no_error(encoding: str, shown: str):
    code = "from detector.config.cli import guarded; guarded(lambda: print('\\u2026 \\xb1'))"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, check=True
    )
    assert done.stdout.decode(encoding).strip() == shown
