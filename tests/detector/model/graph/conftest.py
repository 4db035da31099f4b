"""A file as both onnxruntime and a network of ours see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detector.model.graph.network import GraphNet, build_graph
from detector.model.graph.onnx_file import read_start
from detector.model.graph.starts import Start, start_of_file

SIZES = ((1, 64, 96), (3, 32, 160), (2, 96, 96), (1, 32, 32))


@pytest.fixture
def read() -> Callable[..., GraphNet]:
    """`read(path, start)`: the network of a file, with its weights."""

    def make(path: Path, start: Start | None = None) -> GraphNet:
        graph, weights = read_start(path, start or start_of_file(path), path.stem, "onnx")
        network = build_graph(graph, str(path))
        missing, unexpected = network.load_state_dict(network.of_nodes(weights), strict=False)
        assert unexpected == []
        assert all(name.startswith("threshold.") for name in missing)
        return network.eval()

    return make


@pytest.fixture
def difference() -> Callable[..., float]:
    """`difference(network, path, bgr)`: the largest one from onnxruntime, over several sizes."""

    def found(network: GraphNet, path: Path, *, bgr: bool = False) -> float:
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        generator = torch.Generator().manual_seed(0)
        gaps = []
        for batch, height, width in SIZES:
            images = torch.randn(batch, 3, height, width, generator=generator)
            given = images.flip(1) if bgr else images
            (theirs,) = session.run(None, {name: given.numpy()})
            with torch.inference_mode():
                ours = network(images).probability.sigmoid()
            assert ours.shape == theirs.shape == (batch, 1, height, width)
            gaps.append(float((ours - torch.from_numpy(theirs)).abs().max()))
        return max(gaps)

    return found
