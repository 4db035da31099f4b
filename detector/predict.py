"""`python -m detector.predict checkpoint=… images=… output=pred.json`: polygons for images."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from pydantic import Field

from detector.augmented import DetectorSettings
from detector.cli import log, run
from detector.data.annotations import list_images, read_image
from detector.data.dataset import whole_page_loader
from detector.data.images import write_png
from detector.draw import draw
from detector.errors import InputError, JobError
from detector.inference import Detector
from detector.postprocess import Detections
from detector.submission import write_csv, write_json

PROGRESS_S = 10.0  # seconds between two lines of progress

Predicted = dict[str, tuple[Detections, tuple[int, int]]]


class PredictSettings(DetectorSettings):
    images: Path = Field(description="an image, or a folder of jpg, jpeg and png files")
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


def find_images(path: Path, *, recursive: bool = False) -> dict[str, Path]:
    """The image itself, or those of a folder, by name and sorted; InputError if there is none.

    A name is the path below the folder with `/`, so that two folders may hold the same file
    name. Hidden files and folders are left out.
    """
    if path.is_file():
        return {path.name: path}
    if not path.is_dir():
        raise InputError(f"images={path}: no such file or folder")
    folders = [path]
    if recursive:
        below = (folder for folder in path.rglob("*") if folder.is_dir())
        folders += [f for f in below if not _hidden(f.relative_to(path))]
    found = [image for folder in folders for image in list_images(folder)]
    if not found:
        where = "this folder or one below it" if recursive else "this folder"
        hint = "" if recursive else "; recursive=true looks in the folders below too"
        raise InputError(f"images={path}: no jpg, jpeg or png file in {where}{hint}")
    return dict(sorted((image.relative_to(path).as_posix(), image) for image in found))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def predict(
    detector: Detector,
    paths: dict[str, Path],
    *,
    batch_size: int = 1,
    workers: int = 0,
    visualize: Path | None = None,
) -> tuple[Predicted, list[str]]:
    """Detections and (width, height) of every image by name, and why others are missing.

    Tells its progress on stderr. With `visualize`, drawn pictures go to that folder.
    """
    results: Predicted = {}
    skipped: list[str] = []
    names, told, done = list(paths), monotonic(), 0
    files = list(paths.values())
    for items in whole_page_loader(
        files, detector.preprocess, workers=workers, batch_size=batch_size
    ):
        pages = {names[item.index]: item.page for item in items if item.page is not None}
        for item in items:
            if item.page is None:
                skipped.append(item.error)
                log(f"skipped: {item.error}")
        for page_map in detector.maps_of(list(pages.values()), list(pages)):
            found = detector.locate(page_map)
            results[page_map.name] = found, page_map.size
            if visualize is not None:
                _save_picture(visualize / f"{page_map.name}.png", paths[page_map.name], found)
        done += len(items)
        if monotonic() - told > PROGRESS_S or done % 50 < len(items):
            log(f"{done} of {len(paths)} images")
            told = monotonic()
    return results, skipped


def _save_picture(target: Path, image: Path, found: Detections) -> None:
    picture = draw(read_image(image), predicted=found.polygons, true=[], ignored=[])
    write_png(target, picture)


def main(settings: PredictSettings) -> int:
    paths = find_images(settings.images, recursive=settings.recursive)
    detector = settings.load()
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
    log(f"{words} words on {len(results)} images, {len(skipped)} skipped: {settings.output}")
    return 0


if __name__ == "__main__":
    run(
        main,
        PredictSettings,
        program="python -m detector.predict",
        description="Find the words on images and write them as the competition's JSON and CSV.",
    )
