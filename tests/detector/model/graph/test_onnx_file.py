"""Which files are detectors that can be trained on, and what is found in them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx_graphs import WIDTH, conv, detector_file, node, weights

from detector.core.errors import InputError
from detector.model.graph.network import stride_of
from detector.model.graph.onnx_file import read_start
from detector.model.graph.starts import named_start, start_of_file

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
WITHOUT = importlib.util.find_spec("rapidocr") is None
needs_rapidocr = pytest.mark.skipif(WITHOUT, reason="needs the extra ppocr")


@needs_rapidocr
def test_ppocr_is_what_onnxruntime_makes_of_it(read, difference):
    path, start = named_start("ppocrv6_small")
    network = read(path, start)
    assert difference(network, path, bgr=True) < 1e-5
    graph = network.graph
    assert (graph.licence, graph.mean, graph.std) == ("Apache-2.0", (0.5,) * 3, (0.5,) * 3)
    assert graph.source.startswith("PP-OCRv6 small of PaddleOCR, from the package rapidocr ")
    assert graph.nodes[graph.features].op == "concat"
    assert network.threshold.layers[0].in_channels == 96
    maps = network.backbone(torch.zeros(1, 3, 64, 96))
    assert [stride_of(m.shape) for m in maps] == [4, 8, 16, 4]
    # All numbers a channel are vectors, which are not decayed.
    assert {p.ndim for p in network.backbone.parameters()} == {1, 4}


def test_the_last_layers_begin_where_all_passes_a_quarter_of_the_side(tmp_path, read):
    """A pyramid of strides 8 and 4 that are put together; a mean over the page is no coarse map."""
    nodes = [
        node("Relu", ["x"], "fine"),
        conv("fine", "c", "k", strides=[2, 2]),
        node("Relu", ["c"], "coarse"),
        node("Resize", ["coarse", "", "scales"], "large", mode="nearest"),
        node("Concat", ["fine", "large"], "both", axis=1),
        node("GlobalAveragePool", ["both"], "mean"),
        node("Mul", ["both", "mean"], "y"),
    ]
    constants = {"k": weights(8, WIDTH, WIDTH, 2, 2), "scales": np.array([1, 1, 2, 2], np.float32)}
    path = detector_file(tmp_path / "d.onnx", nodes, constants, output="y", channels=2 * WIDTH)
    graph = read(path).graph
    assert graph.nodes[graph.features].op == "concat"
    # Of stride 4 the coarser map is made, of stride 8 none is.
    assert [graph.nodes[level].op for level in graph.levels] == ["relu"]
    assert graph.levels == (3,)


def test_what_is_added_to_a_convolution_is_its_bias(tmp_path, read):
    network = read(detector_file(tmp_path / "d.onnx"))
    ops = [node.op for node in network.graph.nodes]
    assert ops == ["conv", "relu", "conv", "conv", "relu", "conv_transpose", "conv_transpose"]
    assert network.probability.body.layers["3"].bias.tolist() == weights(6, 4).tolist()
    assert network.probability.body.layers["6"].bias.tolist() == weights(7, 1).tolist()


def test_blue_first_becomes_red_first(tmp_path, read, difference):
    path = detector_file(tmp_path / "d.onnx")
    network = read(path, replace(start_of_file(path), bgr=True))
    assert difference(network, path, bgr=True) < 1e-5


def test_an_unknown_operator_is_named(tmp_path, read):
    nodes = [node("Shape", ["x"], "n"), node("Cos", ["x"], "y")]
    path = detector_file(tmp_path / "d.onnx", nodes, output="y")
    with pytest.raises(InputError, match=r"d\.onnx: has operators that are not known: Cos, Shape$"):
        read(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"sizes": (1, 3, 640, 640)},
            r"of any height and width, got \[1, 3, 640, 640\], where 0 is",
        ),
        ({"sizes": ("n", 1, "h", "w")}, r"must take images \(N, 3, height, width\)"),
        ({"last": "Relu"}, "its output must be a probability by a Sigmoid, got relu"),
        ({"last": "Identity"}, "its output must be a probability by a Sigmoid, got add"),
    ],
)
def test_a_network_that_is_no_detector_is_refused(tmp_path, read, changes, told):
    with pytest.raises(InputError, match=told):
        read(detector_file(tmp_path / "d.onnx", **changes))


def test_more_channels_than_a_detector_has_are_refused(tmp_path, read):
    nodes = [conv("x", "wide", "more"), conv("wide", "y", "less")]
    constants = {
        "more": np.zeros((2**16 + 1, WIDTH, 1, 1), np.float32),
        "less": np.zeros((WIDTH, 2**16 + 1, 1, 1), np.float32),
    }
    path = detector_file(tmp_path / "d.onnx", nodes, constants, output="y")
    with pytest.raises(InputError, match=r"shapes\.weight\.0: .* 65537"):
        read(path)


def test_several_outputs_are_refused(tmp_path, read):
    path = detector_file(tmp_path / "d.onnx")
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info("h", 1, None))
    onnx.save(model, path)
    with pytest.raises(InputError, match="one input and one output, a map, got image, ->, map, h"):
        read(path)


def test_a_smaller_map_is_refused(tmp_path, read):
    nodes = [conv("x", "y", "k", strides=[2, 2])]
    path = detector_file(tmp_path / "d.onnx", nodes, {"k": weights(8, 8, 8, 2, 2)}, output="y")
    with pytest.raises(InputError, match=r"one map of the size of the image, got \(2, 1, 32, 48\)"):
        read(path)


def test_a_head_that_reads_more_than_one_map_is_refused(tmp_path, read):
    with pytest.raises(InputError, match="no single map at a quarter of the side is found"):
        read(detector_file(tmp_path / "d.onnx", skip=True))


def test_what_detector_export_wrote_is_refused(tmp_path, read):
    path = detector_file(tmp_path / "d.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"preprocess": "{}"})
    onnx.save(model, path)
    with pytest.raises(InputError, match=r"written by detector\.export; give the best/ folder"):
        read(path)


def test_files_that_cannot_be_read_are_refused(tmp_path, read):
    with pytest.raises(InputError, match=r"train\.init: no file at .*d\.onnx"):
        read(tmp_path / "d.onnx")
    (tmp_path / "d.onnx").write_bytes(b"no ONNX file")
    with pytest.raises(InputError, match=r"d\.onnx: not a readable ONNX file"):
        read(tmp_path / "d.onnx")
    broken = {"a": np.full((1, WIDTH, 1, 1), np.nan, np.float32)}
    detector_file(tmp_path / "d.onnx", [node("Mul", ["x", "a"], "y")], broken, output="y")
    with pytest.raises(InputError, match=r"has weights that are not finite: 3\.weight"):
        read(tmp_path / "d.onnx")


def test_without_the_package_it_is_said_what_to_install(tmp_path, monkeypatch):
    path = detector_file(tmp_path / "d.onnx")
    monkeypatch.setitem(importlib.import_module("sys").modules, "onnx", None)
    with pytest.raises(InputError, match=r"cannot be imported .*; pip install -e '\.\[ppocr\]'"):
        read_start(path, start_of_file(path), "d", "ppocr")
