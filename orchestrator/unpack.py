"""`python -m orchestrator.unpack pack=RUN.zip output=runs/RUN`: a packed run as a folder again."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.config import cli
from detector.config.answer import print_answer
from detector.config.cli import log
from detector.config.sections import Section
from detector.core.commands import command
from detector.core.errors import InputError
from detector.core.files import require_writable
from orchestrator.packs.archive import read_pack
from orchestrator.packs.contents import versions_now


class UnpackSettings(Section):
    pack: Path = Field(description="zip file that orchestrator.pack wrote")
    output: Path = Field(description="folder to make")


def main(settings: UnpackSettings) -> int:
    """Make the folder, and print what the pack says of itself as JSON."""
    if not settings.pack.is_file():
        raise InputError(f"pack: {settings.pack} is no file; give one that orchestrator.pack wrote")
    require_writable("output", settings.output, folder=True)
    about = read_pack(settings.pack, settings.output)
    here = versions_now()
    made = about.get("versions")
    others = {
        name: {"packed": version, "here": here.get(name)}
        for name, version in (made.items() if isinstance(made, dict) else ())
        if here.get(name) != version
    }
    told = {key: about.get(key) for key in ("run", "made", "trials", "platform")}
    print_answer(told | {"output": str(settings.output), "other_versions": others})
    log(f"its leaderboard: {command('orchestrator.report', {'run': settings.output})}")
    return 0


if __name__ == "__main__":
    cli.run(
        main,
        UnpackSettings,
        program="python -m orchestrator.unpack",
        description="Unpack what orchestrator.pack wrote into a run's folder: its report, "
        "leaderboard and best detector work as where they were made. Every file is checked. "
        "Prints one JSON object.",
    )
