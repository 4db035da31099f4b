"""`python -m detector.predict checkpoint=… images=… output=pred.json`: polygons for images."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from detector.config.answer import answer
from detector.config.cli import log, run
from detector.config.inference import DetectorSettings
from detector.core.errors import JobError
from detector.core.escape import some
from detector.core.files import require_writable
from detector.data.page.images import KINDS, frames
from detector.inference.augmented import load_used
from detector.inference.prediction import find_images, predict
from detector.inference.submission import write_csv, write_json


class PredictSettings(DetectorSettings):
    images: Path = Field(description=f"an image, or a folder of {KINDS} files")
    recursive: bool = Field(
        False, description="also the folders below; names are then paths below images"
    )
    output: Path = Field(Path("pred.json"), description="submission JSON to write")
    csv: Path | None = Field(None, description="also write the competition's CSV here")
    visualize: Path | None = Field(None, description="also write drawn pictures into this folder")
    batch_size: int = Field(
        1, ge=1, le=1024, description="images read at once; those of one size share a pass"
    )
    workers: int = Field(0, ge=0, le=64, description="processes that read images")


def main(settings: PredictSettings) -> int:
    require_writable("output", settings.output)
    require_writable("csv", settings.csv)
    require_writable("visualize", settings.visualize, folder=True)
    paths, others = find_images(settings.images, recursive=settings.recursive)
    if others:
        log(f"{len(others)} left out, which are no {KINDS} files: {some(others)}")
    if several := [name for name, path in paths.items() if frames(path) > 1]:
        log(f"of {len(several)} files with several pages the first page counts: {some(several)}")
    detector, _ = load_used(settings.checkpoint, settings)
    results, skipped = predict(
        detector,
        paths,
        batch_size=settings.batch_size,
        workers=settings.workers,
        visualize=settings.visualize,
    )
    if not results:
        raise JobError("no image could be read; see the lines above")
    write_json(settings.output, results)
    if settings.csv is not None:
        write_csv(settings.csv, results)
    words = sum(len(found.polygons) for found, _ in results.values())
    left = f"{len(skipped)} skipped" + (f", {len(others)} left out" if others else "")
    log(f"{words} words on {len(results)} images, {left}: {settings.output}")
    written = {name: getattr(settings, name) for name in ("output", "csv", "visualize")}
    counts = {"images": len(results), "words": words}
    answer(written | counts | {"skipped": skipped, "left_out": others})
    return 0


if __name__ == "__main__":
    run(
        main,
        PredictSettings,
        program="python -m detector.predict",
        description="Find the words on images and write them as the competition's JSON and CSV.",
    )
