"""`python -m detector.export checkpoint=best/ output=model.onnx`: a detector as one ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detector.config.answer import print_answer
from detector.config.cli import log, run
from detector.config.inference import Replaced
from detector.core.errors import InputError
from detector.core.files import require_writable
from detector.data.labels.pages import evenly_spaced
from detector.data.page.images import KINDS, list_images, read_image
from detector.data.synthetic.fonts import find_fonts
from detector.data.synthetic.receipts import make_page
from detector.inference.augmented import load_average
from detector.inference.ensemble import ENSEMBLE
from detector.inference.onnx_export import export
from detector.inference.onnx_model import is_onnx


class ExportSettings(Replaced):
    checkpoint: Path = Field(description="best/ folder of a training or a search, or an ensemble")
    output: Path = Field(Path("model.onnx"), description="file to write")
    opset: int = Field(20, ge=17, le=20, description="version of the ONNX operators")
    images: Path | None = Field(
        None, description="folder of pages to check the file on; null = a synthetic receipt"
    )
    pages: int = Field(8, ge=1, description="pages of images that are checked, evenly spaced")


def _pages(folder: Path | None, limit: int) -> Iterator[NDArray[np.uint8]]:
    if folder is None:
        yield make_page(0, "val", 0, longest_side_px=640, fonts=find_fonts(None, ("en",))).image
        return
    for path in evenly_spaced(list_images(folder), limit):
        try:
            yield read_image(path)
        except InputError as error:
            log(f"skipped: {error}")


def main(settings: ExportSettings) -> int:
    require_writable("output", settings.output)
    if is_onnx(settings.checkpoint):
        raise InputError(
            f"checkpoint={settings.checkpoint}: is an ONNX file already; give the best/ folder"
        )
    if settings.images is not None and not list_images(settings.images):
        raise InputError(f"images={settings.images}: no {KINDS} file in this folder")
    detector, config = load_average(
        [settings.checkpoint], settings.given(), device="cpu", amp="off"
    )
    if detector.scales != (1.0,):
        raise InputError(
            f"checkpoint={settings.checkpoint}: averages pages of several sizes, "
            f"{list(detector.scales)}, which are no part of one ONNX file; set tta.scales to [1.0] "
            f"in its {ENSEMBLE}, or choose the ensemble again without scales"
        )
    pages = _pages(settings.images, settings.pages)
    difference, checked = export(
        detector, config, settings.output, pages=pages, opset=settings.opset
    )
    if checked == 0:
        log("no page could be read: checked on noise alone")
    result: dict[str, Any] = {
        "path": str(settings.output),
        "opset": settings.opset,
        "max_abs_difference": difference,
        "pages": checked,
        "size_mb": round(settings.output.stat().st_size / 1e6, 3),
    }
    print_answer(result)
    return 0


if __name__ == "__main__":
    run(
        main,
        ExportSettings,
        program="python -m detector.export",
        description="Write a trained detector as one ONNX file of any page size, checked with "
        "onnxruntime against PyTorch. Prints one JSON object.",
    )
