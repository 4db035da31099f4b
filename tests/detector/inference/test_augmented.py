from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.data.labels.pages import Page
from detector.data.page.images import list_images, read_image
from detector.data.page.preprocess import Preprocess
from detector.inference.augmented import Averaged, Views, average, load_average
from detector.inference.detector import Detector, load_detector
from detector.inference.evaluation import EvaluateData, evaluate, labelled_pages
from detector.model.dbnet import Maps

PREPROCESS = Preprocess(longest_side_px=64, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


class Constant(nn.Module):
    """One probability everywhere; keeps the sizes it was asked for."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.logit = torch.logit(torch.tensor(probability))
        self.seen: list[tuple[int, int]] = []

    def forward(self, images: torch.Tensor) -> Maps:
        self.seen.append((images.shape[-2], images.shape[-1]))
        return Maps(self.logit.expand(images.shape[0], 1, *images.shape[-2:]), None)


class Ramp(nn.Module):
    """The logit of a pixel is its red channel plus its column, which a mirror changes."""

    def forward(self, images: torch.Tensor) -> Maps:
        columns = torch.arange(images.shape[-1], dtype=torch.float32) / 10
        return Maps(images[:, :1] + columns, None)


def make(model: nn.Module, preprocess: Preprocess = PREPROCESS) -> Detector:
    return Detector(model, preprocess, PostprocessConfig(), torch.device("cpu"))


@pytest.fixture(scope="module")
def pages(drawn_root: Path) -> list[Page]:
    return list(labelled_pages(EvaluateData(root=drawn_root, split="val")))


@pytest.fixture(scope="module")
def page(drawn_root: Path) -> np.ndarray:
    return read_image(list_images(drawn_root / "images" / "val")[0])


def test_probabilities_are_averaged_not_logits():
    averaged = average([make(Constant(0.9)), make(Constant(0.2))])
    found = averaged.probability(torch.zeros(3, 64, 32), size=(20, 50))
    assert found.shape == (50, 20)
    np.testing.assert_allclose(found, 0.55, atol=1 / 65535)
    assert np.all(np.abs(found * 65535 - np.rint(found * 65535)) < 0.01)  # rounded at the end


def test_a_mirror_image_is_mirrored_back():
    image = torch.randn(3, 32, 64)
    found = average([make(Ramp())], flip=True).probability(image, size=(64, 32))
    column = torch.arange(64) / 10
    plain = (image[0] + column).sigmoid()
    mirrored = (image[0] + column.flip(0)).sigmoid()  # column x was seen at 63 - x
    np.testing.assert_allclose(found, (plain + mirrored) / 2, atol=1e-5)


def test_scaled_views_are_multiples_of_the_stride():
    model = Constant(0.4)
    averaged = average([make(model)], scales=[0.8, 1.0, 1.25, 0.1])
    found = averaged.probability(torch.zeros(3, 160, 96), size=(96, 160))
    assert model.seen == [(128, 64), (160, 96), (192, 128), (32, 32)]
    np.testing.assert_allclose(found, 0.4, atol=1e-4)


def test_scaled_maps_lie_on_the_page_they_came_from():
    class Red(nn.Module):
        def forward(self, images: torch.Tensor) -> Maps:
            return Maps(images[:, :1], None)

    image = torch.zeros(3, 128, 128)
    image[0] = torch.linspace(-1, 1, 128)[None, :] + torch.linspace(-1, 1, 128)[:, None]
    found = average([make(Red())], scales=[0.5, 2.0]).probability(image, size=(128, 128))
    # A linear ramp is what interpolation keeps, so any shift would show; borders repeat.
    expected = image[0].sigmoid().numpy()
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-3)


def test_nothing_to_average_is_the_plain_detector(trained: Path, page: np.ndarray):
    plain, config = load_detector(trained, device="cpu")
    same, same_config = load_average([trained], Views(), device="cpu")
    assert same_config == config
    assert isinstance(same.model, type(plain.model))
    tensor, _ = plain.preprocess(page)
    expected = plain.probability(tensor, size=(100, 90))
    np.testing.assert_array_equal(same.probability(tensor, size=(100, 90)), expected)
    twice, _ = load_average([trained, trained], Views(), device="cpu")
    assert isinstance(twice.model, Averaged)
    found = twice.probability(tensor, size=(100, 90))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1.01 / 65535)


def test_an_augmented_detector_is_scored_like_any_other(trained: Path, pages: list[Page]):
    views = Views(scales=[0.8, 1.0, 1.25], flip=True)
    detector, _ = load_average([trained, trained], views, device="cpu")
    detector = replace(detector, postprocess=detector.postprocess)  # as its settings are replaced
    assert evaluate(detector, pages).metrics()["hmean"] > 0.5


def test_detectors_of_unlike_preprocessing_are_refused():
    other = make(Constant(0.5), replace(PREPROCESS, longest_side_px=96))
    with pytest.raises(InputError, match=r"one preprocessing; number 1 has .*64.*, number 2 .*96"):
        average([make(Constant(0.5)), other])
    with pytest.raises(InputError, match="at least one"):
        load_average([], Views())


@pytest.mark.parametrize("scales", [[], [0.0], [1.0, 9.0], [-1.0]])
def test_scales_out_of_range_are_refused(scales: list[float]):
    with pytest.raises(ValidationError, match="scales"):
        Views(scales=scales)
