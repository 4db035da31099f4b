"""Polygons for images: the files of a folder, batch by batch, those that cannot be read told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from detector.config.cli import log
from detector.core.draw import draw
from detector.core.errors import InputError
from detector.data.crops.whole_pages import in_batches, whole_pages
from detector.data.page.images import (
    KINDS,
    left_out,
    list_images,
    pages_of,
    read_image,
    write_png,
)
from detector.data.page.pdf import file_of
from detector.inference.detector import Detector
from detector.postprocess.maps import PageMap
from detector.postprocess.polygons import Detections

PROGRESS_S = 10.0  # seconds between two lines of progress


Predicted = dict[str, tuple[Detections, tuple[int, int]]]


def find_images(path: Path, *, recursive: bool = False) -> tuple[dict[str, Path], list[str]]:
    """The image itself, the pages of a PDF, or the images of a folder by name, sorted; and what is
    left out of it.

    A name is the path below the folder with `/`, so that two folders may hold the same file
    name. Hidden files and folders count for neither. InputError if there is no image.
    """
    if file_of(path).is_file():
        return {page.name: page for page in pages_of(path)}, []
    if not path.is_dir():
        raise InputError(f"images={path}: no such file or folder")
    folders = [path]
    if recursive:
        below = (folder for folder in path.rglob("*") if folder.is_dir())
        folders += [f for f in below if not _hidden(f.relative_to(path))]
    images = [image for folder in folders for image in list_images(folder)]
    others = [
        (folder.relative_to(path) / name).as_posix() + "/" * name.endswith("/")
        for folder in folders
        for name in left_out(folder)
        if not (recursive and name.endswith("/"))  # which are looked through
    ]
    if not images:
        where = "this folder or one below it" if recursive else "this folder"
        hint = "" if recursive else "; recursive=true looks in the folders below too"
        raise InputError(f"images={path}: no {KINDS} file in {where}{hint}")
    named = sorted((image.relative_to(path).as_posix(), image) for image in images)
    return dict(named), sorted(others)


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
    for page_map in image_maps(detector, paths, skipped, batch_size=batch_size, workers=workers):
        found = detector.locate(page_map)
        results[page_map.name] = found, page_map.size
        if visualize is not None:
            _save_picture(visualize / f"{page_map.name}.png", paths[page_map.name], found)
    return results, skipped


def image_maps(
    detector: Detector,
    paths: dict[str, Path],
    skipped: list[str],
    *,
    batch_size: int = 1,
    workers: int = 0,
) -> Iterator[PageMap]:
    """The probability maps of images by name, in order; why others are missing goes to `skipped`.

    Tells that and its progress on stderr.
    """
    names, told, done = list(paths), monotonic(), 0
    files = list(paths.values())
    batches = in_batches(range(len(files)), batch_size)
    for items in whole_pages(files, detector.reading, workers=workers, batches=batches):
        pages = {names[item.index]: item.page for item in items if item.page is not None}
        for item in items:
            if item.page is None:
                skipped.append(item.error)
                log(f"skipped: {item.error}")
        yield from detector.maps_of(list(pages.values()), list(pages))
        done += len(items)
        if monotonic() - told > PROGRESS_S or done % 50 < len(items):
            log(f"{done} of {len(paths)} images")
            told = monotonic()


def _save_picture(target: Path, image: Path, found: Detections) -> None:
    picture = draw(read_image(image), predicted=found.polygons, true=[], ignored=[])
    write_png(target, picture)
