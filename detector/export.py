"""`python -m detector.export checkpoint=best/ output=model.onnx`: a detector as one ONNX file."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from detector.cli import log, run
from detector.config import TrainConfig
from detector.data.annotations import list_images, read_image
from detector.data.pages import evenly_spaced
from detector.data.synthetic import make_page
from detector.data.synthetic_fonts import find_fonts
from detector.errors import InputError, JobError
from detector.files import replacing
from detector.inference import Detector, load_detector
from detector.onnx_model import INPUT, OUTPUT, OnnxNetwork, is_onnx, make_metadata, optional
from detector.settings import Section

TOLERANCE = 1e-4  # largest difference of a probability
_TRACED = (2, 160, 224)  # batch, height, width: three different numbers, none of them 1
_RANDOM_SIZES = 3


class ExportSettings(Section):
    checkpoint: Path = Field(description="best/ folder of a training or a search")
    output: Path = Field(Path("model.onnx"), description="file to write")
    opset: int = Field(20, ge=17, le=20, description="version of the ONNX operators")
    images: Path | None = Field(
        None, description="folder of pages to check the file on; null = a synthetic receipt"
    )
    pages: int = Field(8, ge=1, description="pages of images that are checked, evenly spaced")


class Probability(nn.Module):
    """The network with the sigmoid applied: `(N, 3, H, W)` to `(N, 1, H, W)` in [0, 1]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).probability.sigmoid()


def export(
    detector: Detector,
    config: TrainConfig,
    path: Path,
    *,
    pages: Iterator[NDArray[np.uint8]],
    opset: int = 20,
) -> tuple[float, int]:
    """Write `detector` (on the CPU, in float32) to `path`, checked against PyTorch.

    Batch, height and width stay free; height and width must be multiples of the stride of the
    preprocessing. `pages` are `(H, W, 3)` uint8 RGB images to check on, besides noise of
    random sizes. Returns the largest difference of a probability and the number of pages.

    Raises JobError, and leaves `path` as it was, when the network cannot be expressed in ONNX
    or onnxruntime differs from PyTorch by more than 1e-4; InputError without the packages.
    """
    optional("onnxruntime")
    network = Probability(detector.model).eval()
    content = convert(detector, config, opset=opset)
    difference, checked = _compare(network, OnnxNetwork(content), detector, pages)
    if not difference <= TOLERANCE:
        raise JobError(
            f"{path}: not written: onnxruntime differs from PyTorch by {difference:.2g} where at "
            f"most {TOLERANCE:g} is allowed; this backbone may not keep its sizes free, try another"
        )
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference, checked


def convert(detector: Detector, config: TrainConfig, *, opset: int = 20) -> bytes:
    """The ONNX file of `detector` (on the CPU, in float32), unchecked.

    Raises JobError when the network cannot be expressed in ONNX, InputError without the package.
    """
    onnx = optional("onnx")
    model = onnx.load_from_string(_graph(Probability(detector.model).eval(), opset))
    onnx.helper.set_model_props(model, make_metadata(detector.preprocess, config))
    content: bytes = model.SerializeToString()
    return content


def _graph(network: nn.Module, opset: int) -> bytes:
    """The ONNX model of `network` by tracing.

    The exporter over torch.export gives the same differences but takes far longer, and more
    packages.
    """
    buffer = io.BytesIO()
    batch, height, width = _TRACED
    free = {0: "batch", 2: "height", 3: "width"}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer names every Python branch it saw
            torch.onnx.export(
                network,
                (torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)),),
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: free, OUTPUT: free},
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise JobError(f"this network cannot be exported with opset {opset}: {reason}") from None
    return buffer.getvalue()


def _compare(
    network: nn.Module,
    exported: OnnxNetwork,
    detector: Detector,
    pages: Iterator[NDArray[np.uint8]],
) -> tuple[float, int]:
    """The largest absolute difference over noise and pages, and how many pages there were.

    Where float32 results differ too much, PyTorch computes again in float64, slowly: on large
    pages its own float32 may be off by 1e-4, more than onnxruntime is.
    """

    def difference(batch: Tensor) -> float:
        with torch.inference_mode():
            found = exported.probability(batch)
            plain = float((network(batch) - found).abs().max())
            if plain <= TOLERANCE:
                return plain
            exact = copy.deepcopy(network).double()(batch.double())
            return float((exact - found).abs().max())

    found = [difference(batch) for batch in _noise(detector.preprocess.stride)]
    on_pages = [difference(detector.preprocess(page)[0][None]) for page in pages]
    return float(np.max(found + on_pages)), len(on_pages)  # np.max keeps NaN


def _noise(stride: int) -> Iterator[Tensor]:
    """Batches of noise whose batch, height and width are those of no other and not the traced."""
    generator = torch.Generator().manual_seed(1)
    for batch in range(1, _RANDOM_SIZES + 1):
        height, width = (int(n) for n in torch.randint(2, 11, (2,), generator=generator))
        yield torch.randn(batch, 3, height * stride, width * stride, generator=generator)


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
    if is_onnx(settings.checkpoint):
        raise InputError(
            f"checkpoint={settings.checkpoint}: is an ONNX file already; give the best/ folder"
        )
    if settings.images is not None and not list_images(settings.images):
        raise InputError(f"images={settings.images}: no jpg, jpeg or png file in this folder")
    detector, config = load_detector(settings.checkpoint, device="cpu", amp="off")
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
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    run(
        main,
        ExportSettings,
        program="python -m detector.export",
        description="Write a trained detector as one ONNX file of any page size, checked with "
        "onnxruntime against PyTorch. Prints one JSON object.",
    )
