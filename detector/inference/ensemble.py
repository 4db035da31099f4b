"""Several trained detectors kept as one: a folder with a `best/` of each and `ensemble.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from detector.config.cli import read_yaml
from detector.config.inference import Views
from detector.config.sections import Section, describe_faults
from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.core.files import write_text
from detector.core.folders import copy_folder, replacing_folder
from detector.core.plain import dump_yaml

ENSEMBLE = "ensemble.yaml"


class Ensemble(Section):
    """What `ensemble.yaml` holds: folders beside it, whose maps are averaged, and how."""

    members: list[Annotated[str, Field(pattern=r"^[^./\\][^/\\]*$")]] = Field(
        min_length=1, description="names of the members' folders"
    )
    tta: Views = Views()
    postprocess: PostprocessConfig = PostprocessConfig()


def ensemble_file(checkpoint: Path) -> Path | None:
    """The `ensemble.yaml` that a checkpoint is or has; None where it is no ensemble."""
    choices = (checkpoint, checkpoint / ENSEMBLE, checkpoint / "best" / ENSEMBLE)
    return next((c for c in choices if c.name == ENSEMBLE and c.is_file()), None)


def read_ensemble(file: Path) -> Ensemble:
    """What an `ensemble.yaml` says. Raises InputError naming the file and what is wrong."""
    try:
        return Ensemble.model_validate(read_yaml(file))
    except ValidationError as error:
        lines = describe_faults(error, Ensemble)
        raise InputError("\n".join(f"{file}: {line}" for line in lines)) from None


def write_ensemble(
    folder: Path, members: Mapping[str, Path], *, tta: Views, postprocess: PostprocessConfig
) -> None:
    """Replace `folder` by an ensemble with copies of `members`, `best/` folders by name."""
    with replacing_folder(folder) as fresh:
        for name, best in members.items():
            copy_folder(best, fresh / name)
        write_settings(
            fresh / ENSEMBLE, Ensemble(members=[*members], tta=tta, postprocess=postprocess)
        )


def write_settings(file: Path, ensemble: Ensemble) -> None:
    """Replace an `ensemble.yaml`, atomically."""
    write_text(file, dump_yaml(ensemble.model_dump(mode="json")))
