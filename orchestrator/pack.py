"""`python -m orchestrator.pack run=runs/RUN output=RUN.zip`: a run in one file, for others."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import Field, field_validator

from detector.config import cli
from detector.config.answer import print_answer
from detector.config.sections import Section
from detector.core.files import is_locked, require_writable
from orchestrator.packs.archive import digests, write_pack
from orchestrator.packs.contents import about, contents
from orchestrator.run.run import stored_run


class PackSettings(Section):
    run: Path = Field(description="a run's folder, such as runs/RUN")
    output: Path = Field(description="zip file to write")
    weights: bool = Field(True, description="with the weights of best/, most of the file")

    @field_validator("output")
    @classmethod
    def _check_output(cls, value: Path) -> Path:
        if value.suffix != ".zip":
            raise ValueError(f"must be the name of a zip file, got {value}; add .zip")
        return value


def main(settings: PackSettings) -> int:
    """Write the pack, and print what is in it and what is not as JSON."""
    run = stored_run(settings.run)
    require_writable("output", settings.output)
    home = os.environ.get("HOME")
    with tempfile.TemporaryDirectory() as folder:
        found = contents(
            run,
            over=not is_locked(run.folder),
            weights=settings.weights,
            folder=Path(folder),
            home=Path(home) if home else None,
        )
        write_pack(settings.output, about(run, digests(found.files)), found.files)
    result = {
        "output": str(settings.output),
        "bytes": settings.output.stat().st_size,
        "files": sorted(found.files),
        "left_out": [*found.left_out],
    }
    print_answer(result)
    return 0


if __name__ == "__main__":
    cli.run(
        main,
        PackSettings,
        program="python -m orchestrator.pack",
        description="Put a run into one zip file for colleagues and bug reports: leaderboard, "
        "report, study, best detector, settings, versions and logs. No pages, no pictures of them, "
        "no passwords or tokens, and ~ for your home folder; names of pages stay. "
        "python -m orchestrator.unpack reads it. Prints one JSON object.",
    )
