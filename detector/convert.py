"""`python -m detector.convert data.root=DIR output=FILE to=FORMAT`: labels in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from detector.config.answer import answer
from detector.config.cli import log, run
from detector.config.input import LabelsConfig
from detector.config.sections import Section
from detector.core.errors import InputError
from detector.data.labels.annotations import scan_all
from detector.data.labels.conversion import counted, require_output, told, write_labels
from detector.data.labels.pages import LabelRules


class ConvertSettings(Section):
    data: LabelsConfig = LabelsConfig()
    to: Literal["native", "icdar", "coco", "labelme", "labelstudio", "ppocrlabel"] = Field(
        "native", description="format to write"
    )
    output: Path = Field(
        description="file to write; for icdar, labelme and ppocrlabel a folder of files"
    )
    predictions: Path | None = Field(
        None, description="JSON of detector.predict, in the place of the labels in data.root"
    )
    copy_images: bool = Field(False, description="also copy the images to where the labels are")


def main(settings: ConvertSettings) -> int:
    """Write the labels; what is left out goes to stderr, by kind."""
    data = settings.data
    if data.root is None:
        raise InputError("data.root: is required, for example data.root=data/receipts")
    require_output(settings.to, settings.output)
    rules = LabelRules(**data.rules())
    found = scan_all(data.root, exclude=data.exclude, rules=rules, given=settings.predictions)
    for line in told(found.faults):
        log(line)
    if not found.pages:
        raise InputError(f"{data.root}: no page with words that can be used; nothing is written")
    left = write_labels(
        found.pages,
        settings.to,
        settings.output,
        data.root,
        copy_images=settings.copy_images,
        given=settings.predictions,
    )
    if left:
        log(f"without a place in {settings.to}, so left out: {counted(left)}")
    words = sum(len(page.words) for page in found.pages)
    log(f"{words} words on {len(found.pages)} images: {settings.output}")
    counts = {"images": len(found.pages), "words": words, "faults": len(found.faults)}
    answer({"output": settings.output, "to": settings.to, "left_out": left} | counts)
    return 0


if __name__ == "__main__":
    run(
        main,
        ConvertSettings,
        program="python -m detector.convert",
        description="Write the labels of a folder, or predictions for it, in another format.",
    )
