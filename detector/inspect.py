"""`python -m detector.inspect data.root=DIR`: every annotation fault, doubts, then statistics.

Reads all images completely, so truncated ones show here and not in the middle of a training.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from detector.config.answer import answer
from detector.config.cli import log, run
from detector.config.inference import Checkpoints, GivenData, Use
from detector.config.input import LabelsConfig
from detector.core.errors import InputError
from detector.core.escape import some
from detector.core.files import require_writable
from detector.data.labels.annotations import list_splits
from detector.data.labels.pages import LabelRules
from detector.review.look import Judge, look_at, shared_names
from detector.review.report import NEW_LIST, as_values, report_lines, write_report


class InspectData(LabelsConfig, GivenData):
    split: str = Field("all", min_length=1, description="one split, or all that exist")
    longest_side_px: int | None = Field(
        None,
        ge=64,
        le=8192,
        description="page size at which word heights are given, null = that of a training; the "
        "checkpoint's stays as stored unless this is given",
    )


class InspectConfig(Use):
    data: InspectData = InspectData()
    output: Path | None = Field(
        None, description="folder for faults.csv, stats.json, suspicious.json and pictures"
    )
    checkpoint: Checkpoints | None = Field(
        None, description="trained model (a best/ folder) whose disagreement is listed too"
    )
    images: Path | None = Field(
        None,
        description="folder of unlabelled images, in the place of data.root: which to label next, "
        "by what the checkpoint doubts; several checkpoints or views doubt more surely",
    )
    count: int = Field(50, ge=1, description="pages to choose from images")
    strict: bool = Field(False, description="exit with 1 when there is any fault")


def main(settings: InspectConfig) -> int:
    """Print faults, doubts and statistics; 1 in strict mode with faults, else 0."""
    root, side = settings.data.root, settings.data.longest_side_px
    if settings.images is not None:
        return _choose(settings, settings.images)
    if root is None:
        raise InputError("data.root: is required, for example data.root=data/receipts")
    require_writable("output", settings.output, folder=True)
    rules = LabelRules(**settings.data.rules())
    existing = list_splits(root, rules)
    names = existing if settings.data.split == "all" else [settings.data.split]
    judges = _judges(settings)
    looks = []
    for name in names:
        looks.append(look_at(root, name, side, judges, settings.data.exclude, rules))
        answer({"splits": {look.split.name: as_values(look) for look in looks}})
        for line in report_lines(looks[-1]):
            print(line)
    if settings.output is not None:
        written = write_report(settings.output, looks, shared_names(root), side)
        answer({"written": written})
        for path in written:
            kept = " (suspicious.json is kept, since it may be reviewed)"
            print(f"written: {path}{kept if path.name == NEW_LIST else ''}")
    return int(settings.strict and any(look.split.faults for look in looks))


def _choose(settings: InspectConfig, images: Path) -> int:
    """Print which unlabelled pages to label next, and write them with the words found on them."""
    if settings.checkpoint is None or settings.data.root is not None:
        raise InputError(
            "images: pages to label next are chosen by a trained model, without data.root; give "
            "checkpoint=FOLDER, and the unlabelled pages alone"
        )
    require_writable("output", settings.output, folder=True)
    from detector.inference.augmented import load_used  # PyTorch takes seconds to import
    from detector.inference.prediction import find_images
    from detector.review.next_list import choose_pages, lines_of, write_choice

    paths, others = find_images(images, recursive=True)
    if others:
        log(f"{len(others)} left out, which are no images: {some(others)}")
    detector, _ = load_used(settings.checkpoint, settings)
    found = choose_pages(detector, paths, settings.count)
    answer({"next": [asdict(choice) for choice in found.choices], "skipped": found.skipped})
    for line in lines_of(found):
        print(line)
    if settings.output is not None:
        written = write_choice(settings.output, found)
        answer({"written": written})
        for path in written:
            print(f"written: {path}")
    return 0


def _judges(settings: InspectConfig) -> list[Judge]:
    if settings.checkpoint is None:
        return []
    from detector.inference.augmented import load_used  # PyTorch takes seconds to import
    from detector.review.disagreement import judge_of

    detector, _ = load_used(settings.checkpoint, settings)
    return [judge_of(detector)]


if __name__ == "__main__":
    run(
        main,
        InspectConfig,
        program="python -m detector.inspect",
        description="Report annotation faults by file and word, suspicious words, statistics; or, "
        "with images=FOLDER and a checkpoint, which unlabelled pages to label next. "
        "Exit code 0, or 1 with strict=true when there are faults.",
    )
