"""`python -m detector.predict checkpoint=… images=… output=pred.json`: polygons for images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from detector.cli import log, run
from detector.config import Section
from detector.data.annotations import list_images, read_image
from detector.draw import draw
from detector.errors import InputError, JobError
from detector.evaluate import override_postprocess
from detector.files import replacing
from detector.inference import load_detector
from detector.postprocess import Detections
from detector.submission import write_csv, write_json


class PredictSettings(Section):
    checkpoint: Path = Field(description="best/ folder of a training or a search")
    images: Path = Field(description="an image, or a folder of jpg, jpeg and png files")
    output: Path = Field(Path("pred.json"), description="submission JSON to write")
    csv: Path | None = Field(None, description="also write the competition's CSV here")
    visualize: Path | None = Field(None, description="also write drawn pictures into this folder")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    amp: Literal["auto", "off", "bf16", "fp16"] = Field("auto", description="mixed precision")
    postprocess: dict[str, Any] = Field(
        {}, description="replaces what is stored, key by key: postprocess.box_thresh=0.4"
    )


def find_images(path: Path) -> list[Path]:
    """The image itself, or those of a folder; InputError when there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"images={path}: no such file or folder")
    found = list_images(path)
    if not found:
        raise InputError(f"images={path}: no jpg, jpeg or png file in this folder")
    return found


def _save_picture(folder: Path, name: str, image: NDArray[np.uint8], found: Detections) -> None:
    picture = draw(image, predicted=found.polygons, true=[], ignored=[])
    with replacing(folder / f"{name}.png") as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def main(settings: PredictSettings) -> int:
    paths = find_images(settings.images)
    detector, config = load_detector(settings.checkpoint, device=settings.device, amp=settings.amp)
    detector = override_postprocess(detector, settings.postprocess, config)
    results: dict[str, tuple[Detections, tuple[int, int]]] = {}
    unreadable = []
    for number, path in enumerate(paths, start=1):
        try:
            image = read_image(path)
        except InputError as error:
            unreadable.append(str(error))
            continue
        found = detector(image)
        results[path.name] = found, (image.shape[1], image.shape[0])
        if settings.visualize is not None:
            _save_picture(settings.visualize, path.name, image, found)
        if number % 50 == 0:
            log(f"{number} of {len(paths)} images")
    for message in unreadable:
        log(f"skipped: {message}")
    if not results:
        raise JobError("no image could be read; see the lines above")
    write_json(settings.output, results)
    if settings.csv is not None:
        write_csv(settings.csv, results)
    words = sum(len(found.polygons) for found, _ in results.values())
    log(f"{words} words on {len(results)} images, {len(unreadable)} skipped: {settings.output}")
    return 0


if __name__ == "__main__":
    run(
        main,
        PredictSettings,
        program="python -m detector.predict",
        description="Find the words on images and write them as the competition's JSON and CSV.",
    )
