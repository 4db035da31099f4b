from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detector.config.settings import TrainConfig
from detector.core.errors import InputError, JobError
from detector.data.page.images import list_images, read_image
from detector.data.page.preprocess import Preprocess
from detector.export import ExportSettings, main
from detector.inference.detector import Detector, load_detector, override
from detector.inference.onnx_export import export
from detector.model.dbnet import Maps, build_model
from detector.model.fusion import FUSIONS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

PREPROCESS = Preprocess(longest_side_px=96, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def make_detector(model: nn.Module) -> Detector:
    return Detector(model, PREPROCESS, TrainConfig().postprocess, torch.device("cpu"))


def no_pages() -> Iterator[np.ndarray]:
    return iter(())


class Baked(nn.Module):
    """Adds a number that tracing takes from the size it happens to see."""

    def forward(self, images: torch.Tensor) -> Maps:
        return Maps(images[:, :1] + int(images.shape[-1]) / 1000, None)


def test_the_command_writes_a_checked_file(run_module, trained: Path, tmp_path: Path):
    path = tmp_path / "model.onnx"
    done = run_module("detector.export", f"checkpoint={trained}", f"output={path}")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["path"] == str(path)
    assert told["opset"] == onnx.load(path).opset_import[0].version == 20
    assert 0 <= told["max_abs_difference"] <= 1e-4
    assert told["pages"] == 1
    assert told["size_mb"] == pytest.approx(path.stat().st_size / 1e6, abs=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_real_pages_are_read_and_broken_ones_skipped(
    trained: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    images = tmp_path / "images"
    shutil.copytree(drawn_root / "images" / "val", images)
    (images / "broken.jpg").write_bytes(b"no image")
    output = tmp_path / "model.onnx"
    assert main(ExportSettings(checkpoint=trained, output=output, images=images)) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["pages"] == 2
    assert "broken.jpg" in printed.err


@pytest.mark.parametrize("neck", ["fpn", "unet"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_neck_and_fusion_keeps_its_sizes_free(neck: str, fusion: str, tmp_path: Path):
    torch.manual_seed(0)
    model = build_model(
        backbone="mobilenetv3_small_050", neck=neck, neck_channels=16, fusion=fusion
    )
    path = tmp_path / "model.onnx"
    export(make_detector(model.eval()), TrainConfig(), path, pages=no_pages(), opset=18)
    assert onnx.load(path).opset_import[0].version == 18
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape) == ("images", ["batch", 3, "height", "width"])
    assert (given.name, given.shape) == ("probability", ["batch", 1, "height", "width"])
    images = torch.randn(3, 3, 64, 32)
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = model(images).probability.sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_file_that_differs_is_not_left_behind(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the former file")
    with pytest.raises(JobError, match=r"not written: onnxruntime differs from PyTorch by 0\.0"):
        export(make_detector(Baked()), TrainConfig(), path, pages=no_pages())
    assert path.read_bytes() == b"the former file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_map_that_is_not_a_number_is_refused(tmp_path: Path):
    class Nan(nn.Module):
        def forward(self, images: torch.Tensor) -> Maps:
            return Maps(images[:, :1] * float("nan"), None)

    with pytest.raises(JobError, match="differs from PyTorch by nan"):
        export(make_detector(Nan()), TrainConfig(), tmp_path / "m.onnx", pages=no_pages())


def test_settings_of_the_test_go_into_the_file(trained: Path, tmp_path: Path):
    given = {"data": {"longest_side_px": 160}, "postprocess": {"box_thresh": 0.4}}
    path = tmp_path / "model.onnx"
    values = {"checkpoint": trained, "output": path} | given
    assert main(ExportSettings.model_validate(values)) == 0
    detector, config = load_detector(path, device="cpu")
    assert detector.preprocess.longest_side_px == config.data.longest_side_px == 160
    assert detector.postprocess.box_thresh == 0.4


@pytest.mark.parametrize(
    "given",
    [
        {"test_scale": 1.5},
        {"crop": True},
        {"crop": True, "test_scale": 0.75, "tile_px": 96, "tile_overlap_px": 32},
    ],
    ids=["larger", "cropped", "both"],
)
def test_a_file_looks_at_pages_as_its_checkpoint_does(
    trained: Path, drawn_root: Path, tmp_path: Path, given: dict
):
    path = tmp_path / "model.onnx"
    values = {"checkpoint": trained, "output": path, "preprocess": given}
    assert main(ExportSettings.model_validate(values)) == 0
    keyed = {f"preprocess.{key}": value for key, value in given.items()}
    ours, _ = override(*load_detector(trained, device="cpu"), keyed)
    theirs, config = load_detector(path, device="cpu")
    assert theirs.preprocess == ours.preprocess
    assert override(theirs, config, {"postprocess.thresh": 0.2})[0].preprocess == ours.preprocess
    plain, _ = load_detector(trained, device="cpu")
    for page in list_images(drawn_root / "images" / "val"):
        image = read_image(page)
        one, other = ours.map_of(image), theirs.map_of(image)
        np.testing.assert_array_equal(one.affine, other.affine)
        np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)
        assert not np.allclose(one.affine, plain.map_of(image).affine)


def test_a_file_from_before_there_was_a_size_for_tests_is_read(trained: Path, tmp_path: Path):
    path = tmp_path / "model.onnx"
    values = {"checkpoint": trained, "output": path}
    assert main(ExportSettings.model_validate(values)) == 0
    expected, _ = load_detector(path, device="cpu")
    model = onnx.load(path)
    (kept,) = [entry for entry in model.metadata_props if entry.key == "config"]
    settings = json.loads(kept.value)
    del settings["preprocess"]["test_scale"]
    kept.value = json.dumps(settings)
    onnx.save(model, path)
    detector, config = load_detector(path, device="cpu")
    assert detector.preprocess == expected.preprocess
    assert config.preprocess.test_scale == 1.0


def test_wrong_inputs_are_said(tmp_path: Path):
    with pytest.raises(InputError, match="is an ONNX file already"):
        main(ExportSettings(checkpoint=tmp_path / "a.onnx"))
    with pytest.raises(InputError, match=r"no jpg, jpeg, png, .+, gif or pdf file"):
        main(ExportSettings(checkpoint=tmp_path, images=tmp_path))
