from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detector.config.settings import PostprocessConfig, TrainConfig, with_values
from detector.core.errors import InputError
from detector.data.page.images import list_images, read_image
from detector.data.page.preprocess import Preprocess
from detector.inference.detector import Detector, load_detector, override
from detector.inference.onnx_export import export
from detector.inference.onnx_model import OnnxNetwork, is_onnx, make_metadata, optional
from detector.model.dbnet import Maps

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PREPROCESS = Preprocess(longest_side_px=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.25))
CONFIG = with_values(
    TrainConfig(),
    {
        "data.root": "somewhere/secret",
        "data.longest_side_px": 64,
        "postprocess.box_thresh": 0.37,
        "model.backbone": "mobilenetv3_small_050",
    },
)


class Red(nn.Module):
    """The logit of a pixel is its red channel."""

    def forward(self, images: torch.Tensor) -> Maps:
        return Maps(images[:, :1], None)


def red_detector() -> Detector:
    return Detector(Red(), PREPROCESS, CONFIG.postprocess, torch.device("cpu"))


@pytest.fixture(scope="module")
def red_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "red.onnx"
    export(red_detector(), CONFIG, path, pages=iter(()))
    return path


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "trained.onnx"
    detector, config = load_detector(trained, device="cpu")
    export(detector, config, path, pages=iter(()))
    return path


def test_a_file_finds_the_words_of_its_checkpoint(trained: Path, exported: Path, drawn_root: Path):
    ours, _ = load_detector(trained, device="cpu")
    theirs, config = load_detector(exported, device="cpu")
    assert theirs.preprocess == ours.preprocess
    assert theirs.postprocess == ours.postprocess == config.postprocess
    for path in list_images(drawn_root / "images" / "val"):
        image = read_image(path)
        expected, found = ours(image), theirs(image)
        assert len(found.polygons) == len(expected.polygons) > 0
        for a, b in zip(found.polygons, expected.polygons, strict=True):
            np.testing.assert_allclose(a, b, atol=0.5)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_probabilities_become_the_logits_they_came_from(red_file: Path):
    images = torch.randn(2, 3, 32, 96)
    network = OnnxNetwork(red_file)
    torch.testing.assert_close(network.probability(images), images[:, :1].sigmoid())
    maps = network(images)
    assert maps.threshold is None
    torch.testing.assert_close(maps.probability, images[:, :1], atol=1e-4, rtol=1e-4)


def test_saturated_logits_stay_probabilities(red_file: Path):
    images = torch.zeros(1, 3, 32, 32)
    images[0, 0, 0, :2] = torch.tensor([1e4, -1e4])
    found = OnnxNetwork(red_file)(images).probability.sigmoid()
    assert found[0, 0, 0, :3].tolist() == [1.0, 0.0, 0.5]


def test_metadata_are_json_and_name_no_place_of_a_machine():
    metadata = make_metadata(PREPROCESS, CONFIG)
    parts = {key: json.loads(value) for key, value in metadata.items()}
    assert Preprocess.from_dict(parts["preprocess"]) == PREPROCESS
    assert PostprocessConfig(**parts["postprocess"]) == CONFIG.postprocess
    assert parts["backbone"] == "mobilenetv3_small_050"
    assert parts["config"]["data"]["longest_side_px"] == 64
    assert "secret" not in "".join(metadata.values())


def test_settings_of_a_file_can_be_replaced(red_file: Path):
    detector, config = load_detector(red_file, device="cpu")
    assert detector.preprocess == PREPROCESS
    assert config.postprocess.box_thresh == 0.37
    changed, _ = override(detector, config, {"postprocess.thresh": 0.2})
    assert (changed.postprocess.thresh, changed.postprocess.box_thresh) == (0.2, 0.37)


def test_files_that_are_no_detector_are_refused(red_file: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_detector(tmp_path / "none.onnx", device="cpu")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(red_file.read_bytes()[:50])
    with pytest.raises(InputError, match=r"broken\.onnx: onnxruntime cannot load it"):
        load_detector(broken, device="cpu")
    model = onnx.load(red_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"other\.onnx: its metadata hold no 'preprocess'"):
        load_detector(tmp_path / "other.onnx", device="cpu")


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime: needed .*pip install -e '\.\[onnx\]'"):
        optional("onnxruntime")


def test_the_suffix_decides(tmp_path: Path):
    assert is_onnx(tmp_path / "a.ONNX")
    assert not is_onnx(tmp_path / "best")
