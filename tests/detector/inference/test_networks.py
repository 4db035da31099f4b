"""What a training may start from: named, by a path to weights of ours, or an ONNX file."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from onnx_graphs import WIDTH, conv, detector_file, node, weights
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.checkpoint import read_best
from detector.inference.networks import (
    find_start,
    has_own_network,
    kept_model,
    load_start,
    new_model,
    require_start,
)
from detector.model.graph.network import GraphNet
from detector.model.graph.starts import brings_network, is_named

WITHOUT = importlib.util.find_spec("rapidocr") is None
needs_rapidocr = pytest.mark.skipif(WITHOUT, reason="needs the extra ppocr")
TINY = {"model.backbone": "mobilenetv3_small_050", "model.neck_channels": 16}


def config(init: object, **changes: object) -> TrainConfig:
    values = {k.replace("__", "."): v for k, v in changes.items()}
    return with_values(TrainConfig(), TINY | values | {"train.init": str(init)})


def test_by_default_a_network_is_new():
    network = new_model(config("none"))
    assert network.backbone.name == "mobilenetv3_small_050"
    assert network.metadata() == {}


def test_values_that_are_no_paths_are_known():
    assert [is_named(v) for v in ("none", "ppocrv6_small", "runs/a")] == [True, True, False]
    found = [brings_network(v) for v in ("none", "ppocrv6_small", "runs/a", "b.ONNX")]
    assert found == [False, True, False, True]


@pytest.mark.parametrize("below", ["", "checkpoint", "checkpoint/best/model.safetensors"])
def test_all_weights_of_ours_are_taken(trained: Path, below: str):
    start = trained / below
    network = new_model(config(start))
    begun = load_start(network, str(start))
    weights, _ = read_best(trained)
    assert network.state_dict().keys() == weights.keys() == begun.tensors.keys()
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    path = trained / "checkpoint" / "best" / "model.safetensors"
    assert begun.source == f"{path}: {len(weights)} tensors are taken; new: nothing"
    assert begun.licence == ""
    assert not has_own_network(str(start))


def test_what_does_not_fit_is_new_and_told(trained: Path):
    start = str(trained)
    changed = config(start, model__neck="unet", model__fusion="none")
    torch.manual_seed(1)
    network = new_model(changed)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    begun = load_start(network, start)
    weights, _ = read_best(trained)
    after = network.state_dict()
    new = [key for key in before if key not in begun.tensors]
    # Of the heads all fits, since both read as many channels.
    assert {key.partition(".")[0] for key in new} == {"neck"}
    assert begun.source.endswith(f"; new: neck ({len(new)} tensors)")
    assert all(torch.equal(after[key], before[key]) for key in new)
    assert all(torch.equal(after[key], weights[key]) for key in begun.tensors)


def test_weights_of_another_backbone_are_refused(trained: Path):
    other = config(trained, model__backbone="resnet18")
    told = (
        r"the backbone resnet18 are not there in this shape, .* backbone\..*: it is another one; "
    )
    with pytest.raises(
        InputError, match=rf"{told}give config={trained}/checkpoint/best/config\.yaml, or"
    ):
        load_start(new_model(other), str(trained))
    with pytest.raises(InputError, match=told):
        require_start(other)


def test_weights_of_a_backbone_alone_are_no_start(tmp_path: Path):
    path = tmp_path / "resnet18.safetensors"
    save_file(timm.create_model("resnet18").state_dict(), path)
    told = rf"holds no detector of ours; .* given by model\.weights={path}$"
    with pytest.raises(InputError, match=told):
        require_start(config(path, model__backbone="resnet18"))


def test_what_is_not_there_is_named_with_what_may_be(tmp_path: Path):
    told = "must be none, ppocrv6_small, a best/ folder, .* got 'nothing', which is not there"
    with pytest.raises(InputError, match=told):
        new_model(config("nothing"))
    with pytest.raises(InputError, match=r"train\.init=.*: no model\.safetensors there"):
        new_model(config(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        new_model(config(tmp_path))


@pytest.mark.skipif(not WITHOUT, reason="the extra ppocr is installed")
def test_a_package_that_is_missing_is_named():
    with pytest.raises(InputError, match="package rapidocr is not installed; pip install -e"):
        new_model(config("ppocrv6_small"))


def test_a_named_start_needs_its_package_in_full(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    told = r"^train\.init=ppocrv6_small: the package rapidocr is not installed; "
    with pytest.raises(InputError, match=told + r"pip install -e '\.\[ppocr\]'"):
        new_model(config("ppocrv6_small"))


@needs_rapidocr
def test_a_named_start_can_be_used_and_brings_its_statistics():
    require_start(config("ppocrv6_small"))
    network = new_model(config("ppocrv6_small"))
    begun = find_start(network, "ppocrv6_small")
    assert begun.licence == "Apache-2.0"
    assert begun.source.startswith("ppocrv6_small: PP-OCRv6 small of PaddleOCR, from the package")
    assert begun.source.endswith(
        " (Apache-2.0): 162 tensors are taken; new: threshold (14 tensors)"
    )
    assert (network.backbone.name, network.mean) == ("ppocrv6_small", (0.5, 0.5, 0.5))
    assert "rapidocr" not in sys.modules


@pytest.fixture
def begun_there(tmp_path: Path, tiny: Callable[..., TrainConfig]) -> Path:
    """The best/ of a training that began as a hand-made ONNX file, which is gone."""
    pytest.importorskip("onnx", reason="needs the extra onnx")
    from detector.training.trainer import train

    path = detector_file(tmp_path / "start.onnx")
    train(tiny({"train.init": str(path), "train.epochs": 1}), tmp_path / "a", log=lambda _: None)
    path.unlink()
    return tmp_path / "a" / "checkpoint" / "best"


def test_a_batch_norm_that_is_not_folded_is_taken_with_its_statistics(tmp_path: Path):
    """Under a coarser map, so that it is a part of the backbone; ONNX counts no batches."""
    pytest.importorskip("onnx", reason="needs the extra onnx")
    names = ("scale", "shift", "mean", "variance")
    nodes = [
        conv("x", "c", "half", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", *names], "n"),
        node("ConvTranspose", ["n", "double"], "y", strides=[2, 2]),
        node("Add", ["x", "y"], "z"),
    ]
    constants = {name: weights(i, WIDTH) ** 2 for i, name in enumerate(names)}
    constants |= {"half": weights(8, WIDTH, WIDTH, 3, 3), "double": weights(9, WIDTH, WIDTH, 2, 2)}
    path = str(detector_file(tmp_path / "norm.onnx", nodes, constants, output="z"))
    require_start(config(path))
    network = new_model(config(path))
    begun = load_start(network, path)
    assert begun.source.endswith("14 tensors are taken; new: threshold (14 tensors)")
    (norm,) = (m for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.running_var.numpy() == pytest.approx(constants["variance"])


def test_kept_weights_of_a_graph_need_nothing_else(
    begun_there: Path, tmp_path: Path, run_module: Callable, drawn_root: Path
):
    """Neither the file, nor the packages that read it."""
    for name in ("onnx", "rapidocr"):
        (tmp_path / "none" / name).mkdir(parents=True)
        (tmp_path / "none" / name / "__init__.py").write_text("raise ImportError('not here')\n")
    with pytest.MonkeyPatch.context() as patch:
        others = f"{tmp_path / 'none'}:{Path(__file__).parents[3]}"
        patch.setenv("PYTHONPATH", others)
        done = run_module(
            "detector.evaluate", f"checkpoint={begun_there}", f"data.root={drawn_root}"
        )
    assert done.returncode == 0, done.stderr
    assert '"hmean"' in done.stdout


def test_a_graph_is_trained_on_from_what_it_became(begun_there: Path):
    network = new_model(config(begun_there))
    assert isinstance(network, GraphNet)
    assert has_own_network(str(begun_there))
    begun = load_start(network, str(begun_there))
    told = "which began as the file start.onnx: "
    assert f"{told}{len(network.state_dict())} tensors are taken; new: nothing" in begun.source
    with safe_open(begun_there / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert kept_model(config("none"), metadata, "kept").state_dict().keys() == begun.tensors.keys()


def test_a_damaged_graph_is_named(begun_there: Path, tmp_path: Path):
    from detector.core.weight_files import load_tensors, save_tensors
    from detector.inference.detector import load_detector

    shutil.copytree(begun_there, tmp_path / "best")
    path = tmp_path / "best" / "model.safetensors"
    tensors, metadata = load_tensors(path)
    save_tensors(path, tensors, metadata | {"graph": "[]"})
    with pytest.raises(InputError, match=r"best: its graph: "):
        load_detector(tmp_path / "best")
