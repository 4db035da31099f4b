from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.config.settings import PostprocessConfig, TrainConfig, with_values
from detector.core.errors import InputError, JobError
from detector.data.page.preprocess import Preprocess
from detector.data.synthetic.fonts import find_fonts
from detector.data.synthetic.receipts import make_page
from detector.inference.detector import Detector, load_detector, make_preprocess, override
from detector.inference.networks import new_model
from detector.model.dbnet import Maps
from detector.model.graph.starts import named_start

needs_rapidocr = pytest.mark.skipif(
    importlib.util.find_spec("rapidocr") is None, reason="needs the extra ppocr"
)

PREPROCESS = Preprocess(128, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
TIGHT = PostprocessConfig(unclip_ratio=0.0, min_side_px=0.0)


class Red(nn.Module):
    """Finds what is red: a network that looks at each pixel alone."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Maps:
        self.seen.append(tuple(images.shape))
        return Maps(20 * images[:, :1], None)


# As a GPU, cuBLAS and the CPU's allocator say it.
NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
    MemoryError(),
)


class Short(Red):
    """The same on a device that has memory for so many images."""

    def __init__(self, room: int, error: Exception = NO_MEMORY[0]) -> None:
        super().__init__()
        self.room, self.error = room, error

    def forward(self, images: Tensor) -> Maps:
        if len(images) > self.room:
            raise self.error
        return super().forward(images)


def detector(**preprocess) -> Detector:
    changed = replace(PREPROCESS, **preprocess)
    return Detector(Red(), changed, TIGHT, torch.device("cpu"))


def page(width: int, height: int, *words: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A black page with red words x0, y0, x1, y1, ends exclusive."""
    image = np.zeros((height, width, 3), np.uint8)
    for x0, y0, x1, y1 in words:
        image[y0:y1, x0:x1, 0] = 255
    return image


WORDS = (200, 150, 280, 166), (300, 250, 360, 266)


def test_a_cropped_page_is_seen_larger_and_found_more_exactly():
    image = page(800, 600, *WORDS)
    found = detector(crop_margin=0.1)
    seen = found.map_of(image)
    # The words reach from 200 to 359 and from 150 to 265; 15.9 px are left around them, and
    # the first pass, 64 px for 800, finds them to within about a pixel of 12.5.
    assert seen.affine[0, 0] == pytest.approx(128 / 192, rel=0.15)
    boxes = sorted((p.min(axis=0).tolist(), p.max(axis=0).tolist()) for p in found(image).polygons)
    for (low, high), (x0, y0, x1, y1) in zip(boxes, WORDS, strict=True):
        np.testing.assert_allclose([*low, *high], [x0, y0, x1 - 1, y1 - 1], atol=2)
    coarse = detector().map_of(image)
    assert coarse.affine[0, 0] == pytest.approx(128 / 800)


def test_points_of_a_cropped_page_lie_on_its_map():
    image = page(800, 600, *WORDS)
    seen = detector(crop_margin=0.1).map_of(image)
    x, y = seen.to_map(np.array([[240.0, 158.0]]))[0].round().astype(int).tolist()
    assert seen.probability[y, x] > 0.9
    x, y = seen.to_map(np.array([[240.0, 190.0]]))[0].round().astype(int).tolist()
    assert seen.probability[y, x] < 0.1


@pytest.mark.parametrize("size", [(1, 1), (40, 3), (300, 200)])
def test_a_page_without_text_is_not_cropped(size):
    image = page(*size)
    plain, cropped = detector().map_of(image), detector(crop_margin=0.1).map_of(image)
    np.testing.assert_array_equal(plain.probability, cropped.probability)
    np.testing.assert_allclose(plain.affine, cropped.affine)


def test_tiles_change_nothing_for_a_network_that_sees_pixels():
    image = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    whole = detector(longest_side_px=256)
    tiles = detector(longest_side_px=256, tile_px=64, tile_overlap_px=32)
    np.testing.assert_allclose(
        tiles.map_of(image).probability, whole.map_of(image).probability, atol=2e-5
    )
    assert set(tiles.model.seen) == {(1, 3, 64, 64)}


def test_pages_of_one_size_share_a_pass_and_come_back_in_order():
    images = [page(200, 100, (20, 20, 60, 40)), page(100, 200), page(200, 100), page(190, 90)]
    found = detector()
    pages = [found.preprocess.prepare(image) for image in images]
    maps = found.maps_of(pages, ["a", "b", "c", "d"])
    assert sorted(found.model.seen) == [(1, 3, 128, 64), (3, 3, 64, 128)]
    assert [m.name for m in maps] == ["a", "b", "c", "d"]
    for image, one in zip(images, maps, strict=True):
        alone = found.map_of(image)
        np.testing.assert_array_equal(one.probability, alone.probability)
        assert one.size == alone.size == (image.shape[1], image.shape[0])
    assert found.maps_of([], []) == []


def test_every_setting_of_preprocessing_reaches_it():
    config = TrainConfig.model_validate(
        {
            "data": {"longest_side_px": 640, "cache": "kept"},
            "model": {"backbone": "resnet18"},
            "preprocess": {
                "shortest_side_px": 320,
                "background": "paper",
                "background_model": "isnet",
                "contrast": "clahe",
                "flatten": "spline",
                "crop": True,
                "crop_margin": 0.2,
                "tile_px": 512,
                "tile_overlap_px": 64,
            },
        }
    )
    model = new_model(config)
    made = make_preprocess(config, mean=model.mean, std=model.std)
    assert made.to_dict() == {
        "longest_side_px": 640,
        "mean": list(model.mean),
        "std": list(model.std),
        "stride": 32,
        "shortest_side_px": 320,
        "preparation": {
            "background": "paper",
            "background_model": "isnet",
            "contrast": "clahe",
            "flatten": "spline",
        },
        "crop_margin": 0.2,
        "tile_px": 512,
        "tile_overlap_px": 64,
    }
    assert str(made.preparation.masks) == "kept/masks"
    assert make_preprocess(TrainConfig(), mean=model.mean, std=model.std).crop_margin is None


def test_a_page_has_another_size_in_training_where_that_is_asked_for():
    config = with_values(
        TrainConfig(), {"data.longest_side_px": 640, "preprocess.test_scale": 1.25}
    )
    statistics = {"mean": PREPROCESS.mean, "std": PREPROCESS.std}
    made, in_training = (
        make_preprocess(config, **statistics),
        make_preprocess(config, **statistics, training=True),
    )
    assert (made.longest_side_px, in_training.longest_side_px) == (800, 640)
    assert replace(made, longest_side_px=640) == in_training
    by_default = with_values(TrainConfig(), {"preprocess.test_scale": 1.25})
    assert make_preprocess(by_default, **statistics).resized(1000, 1000) == (920, 920)


def test_a_size_given_for_use_is_that_size():
    stored = with_values(
        TrainConfig(), {"data.longest_side_px": 640, "preprocess.test_scale": 1.25}
    )
    for given, size in [
        ({"postprocess.thresh": 0.2}, 800),
        ({"data.longest_side_px": 512}, 512),
        ({"preprocess.test_scale": 2.0}, 1280),
        ({"data.longest_side_px": 512, "preprocess.test_scale": 2.0}, 1024),
    ]:
        changed, config = override(detector(), stored, given)
        assert changed.preprocess.longest_side_px == size, given
        again = make_preprocess(config, mean=PREPROCESS.mean, std=PREPROCESS.std)
        assert again == changed.preprocess  # what is stored of it gives the same again


def test_stored_settings_can_be_replaced_and_are_checked():
    stored = detector()
    given = {"preprocess.tile_px": "256", "postprocess.thresh": 0.2, "data.longest_side_px": 96}
    changed, _ = override(stored, TrainConfig(), given)
    assert changed.preprocess.longest_side_px == 96
    assert (changed.preprocess.tile_px, changed.preprocess.mean) == (256, PREPROCESS.mean)
    assert changed.postprocess.thresh == 0.2
    with pytest.raises(InputError, match=r"preprocess.tile_pixels"):
        override(stored, TrainConfig(), {"preprocess.tile_pixels": 256})
    with pytest.raises(InputError, match=r"tile_overlap_px must not exceed half of tile_px"):
        override(stored, TrainConfig(), {"preprocess.tile_px": 128})


@pytest.mark.parametrize("error", NO_MEMORY, ids=["gpu", "cublas", "cpu", "python"])
def test_pages_go_through_in_parts_where_there_is_no_memory_for_all(error):
    whole = detector()
    short = replace(whole, model=Short(2, error))
    pages = [whole.preprocess.prepare(page(100, 100, (10 * i, 0, 10 * i + 9, 9))) for i in range(5)]
    names = list("abcde")
    for one, other in zip(whole.maps_of(pages, names), short.maps_of(pages, names), strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.probability, other.probability)
    assert [shape[0] for shape in short.model.seen] == [2, 1, 2]  # 5 are 3 and 2; 3 are 2 and 1


def test_another_error_is_none_of_memory():
    broken = replace(detector(), model=Short(0, RuntimeError("shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes cannot"):
        broken.map_of(page(400, 300))


def test_a_page_without_room_says_so_with_the_remedy():
    short = replace(detector(), model=Short(0))
    with pytest.raises(
        JobError, match=r"^out of memory: .* 128 x 96 pixels; use a smaller data\.lo"
    ):
        short.map_of(page(400, 300))


@needs_rapidocr
def test_a_published_detector_gives_what_onnxruntime_makes_of_its_file():
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    image = make_page(0, "val", 0, longest_side_px=640, fonts=find_fonts(None, ("en",))).image
    image = image[: image.shape[0] // 32 * 32, : image.shape[1] // 32 * 32]
    loaded = load_detector(Path("ppocrv6_small"), device="cpu", amp="off")
    detector, config = override(*loaded, {"data.longest_side_px": max(image.shape[:2])})
    assert (config.train.init, detector.postprocess) == ("ppocrv6_small", PostprocessConfig())
    blue_first = (image[:, :, ::-1].astype(np.float32) / 255 - 0.5) / 0.5
    session = runtime.InferenceSession(
        str(named_start("ppocrv6_small")[0]), providers=["CPUExecutionProvider"]
    )
    batch = np.ascontiguousarray(blue_first.transpose(2, 0, 1)[None])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: batch})
    ours = detector.map_of(image).probability
    assert ours.max() > 0.9  # there is text
    np.testing.assert_allclose(ours, theirs[0, 0], atol=1e-3)


def test_a_folder_comes_before_a_published_detector_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ppocrv6_small").mkdir()
    with pytest.raises(InputError, match=r"checkpoint=ppocrv6_small: no model\.safetensors there"):
        load_detector(Path("ppocrv6_small"))


def test_a_published_detector_without_its_package_names_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"^checkpoint=ppocrv6_small: .* pip install -e"):
        load_detector(Path("ppocrv6_small"))
