"""`python -m detector.predict checkpoint=… images=… output=pred.json`: polygons for images."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detector.augmented import Checkpoints, Views, load_average
from detector.cli import log, run
from detector.data.annotations import list_images, read_image
from detector.data.images import write_png
from detector.draw import draw
from detector.errors import InputError, JobError
from detector.evaluate import override_postprocess
from detector.inference import Detector
from detector.postprocess import Detections
from detector.settings import Section
from detector.submission import write_csv, write_json

PROGRESS_S = 10.0  # seconds between two lines of progress

Predicted = dict[str, tuple[Detections, tuple[int, int]]]


class PredictSettings(Section):
    checkpoint: Checkpoints = Field(
        description="best/ folder of a training or a search, or an ONNX file; several as [a, b], "
        "whose maps are averaged"
    )
    images: Path = Field(description="an image, or a folder of jpg, jpeg and png files")
    recursive: bool = Field(
        False, description="also the folders below; names are then paths below images"
    )
    output: Path = Field(Path("pred.json"), description="submission JSON to write")
    csv: Path | None = Field(None, description="also write the competition's CSV here")
    visualize: Path | None = Field(None, description="also write drawn pictures into this folder")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto", description="mixed precision")
    postprocess: dict[str, Any] = Field(
        {}, description="replaces what is stored, key by key: postprocess.box_thresh=0.4"
    )
    tta: Views = Views()


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


def _save_picture(folder: Path, name: str, image: NDArray[np.uint8], found: Detections) -> None:
    picture = draw(image, predicted=found.polygons, true=[], ignored=[])
    write_png(folder / f"{name}.png", picture)


def predict(
    detector: Detector, paths: dict[str, Path], *, visualize: Path | None = None
) -> tuple[Predicted, list[str]]:
    """Detections and (width, height) of every image by name, and why others are missing.

    Tells its progress on stderr. With `visualize`, drawn pictures go to that folder.
    """
    results: Predicted = {}
    skipped: list[str] = []
    told = monotonic()
    for number, (name, path) in enumerate(paths.items(), start=1):
        try:
            image = read_image(path)
        except InputError as error:
            skipped.append(str(error))
            log(f"skipped: {error}")
        else:
            found = detector(image)
            results[name] = found, (image.shape[1], image.shape[0])
            if visualize is not None:
                _save_picture(visualize, name, image, found)
        if number % 50 == 0 or monotonic() - told > PROGRESS_S:
            log(f"{number} of {len(paths)} images")
            told = monotonic()
    return results, skipped


def main(settings: PredictSettings) -> int:
    paths = find_images(settings.images, recursive=settings.recursive)
    detector, config = load_average(
        settings.checkpoint, settings.tta, device=settings.device, amp=settings.amp
    )
    detector = override_postprocess(detector, settings.postprocess, config)
    results, skipped = predict(detector, paths, visualize=settings.visualize)
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
