"""An output that cannot be written is said before any work, by every command that has one."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import get_type_hints

import pytest

from detector.config.cli import build
from detector.core.errors import InputError

# With inputs that are not there either: whoever reads these first has begun to work.
COMMANDS = {
    "train": ({"data.root": "none"}, ["output"]),
    "predict": ({"checkpoint": "none", "images": "none"}, ["output", "csv", "visualize"]),
    "export": ({"checkpoint": "none"}, ["output"]),
    "tune_postprocess": ({"checkpoint": "none", "data.root": "none"}, ["output", "maps"]),
    "inspect": ({"data.root": "none"}, ["output"]),
    "cleval": ({"gt": "none", "pred": "none"}, ["draw"]),
    "synthesize": ({"images": "1"}, ["root"]),
}


@pytest.mark.parametrize(
    ("command", "key"), [(name, key) for name, (_, keys) in COMMANDS.items() for key in keys]
)
def test_an_output_is_checked_first(tmp_path: Path, command: str, key: str):
    (tmp_path / "file").touch()
    main = importlib.import_module(f"detector.{command}").main
    values = COMMANDS[command][0] | {key: f"{tmp_path}/file/결과"}
    said = f"{key}: {tmp_path}/file/결과 lies below {tmp_path}/file, which is a file; give another"
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        main(build(get_type_hints(main)["settings"], values))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
