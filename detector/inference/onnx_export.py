"""A detector written as one ONNX file, checked against PyTorch."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.config.settings import TrainConfig
from detector.core.errors import JobError
from detector.core.files import replacing
from detector.inference.detector import Detector
from detector.inference.networks import origin_of
from detector.inference.onnx_model import (
    INPUT,
    OUTPUT,
    OnnxNetwork,
    make_metadata,
    optional,
)

TOLERANCE = 1e-4  # largest difference of a probability


_TRACED = (2, 160, 224)  # batch, height, width: three different numbers, none of them 1


_RANDOM_SIZES = 3


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
    onnx.helper.set_model_props(
        model, make_metadata(detector.preprocess, config) | origin_of(detector.model)
    )
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
