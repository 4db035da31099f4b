from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from detector.config.inference import Views
from detector.config.settings import PostprocessConfig
from detector.core.errors import InputError
from detector.data.labels.pages import Page
from detector.data.page.images import list_images, read_image
from detector.data.page.preprocess import Preprocess
from detector.inference.augmented import Averaged, average, load_average
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


class Red(nn.Module):
    """The logit of a pixel is its red channel."""

    def forward(self, images: torch.Tensor) -> Maps:
        return Maps(images[:, :1], None)


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


def test_a_scaled_view_is_rendered_and_padded_for_itself():
    model = Constant(0.4)
    averaged = average([make(model)], scales=[0.8, 1.0, 1.25, 0.1])
    found = averaged.map_of(np.zeros((120, 60, 3), np.uint8))  # 64 x 32 at scale 1
    # 51 x 26, 64 x 32, 80 x 40 and 6 x 3, each filled up to multiples of 32
    assert model.seen == [(64, 32), (64, 32), (96, 64), (32, 32)]
    assert found.probability.shape == (64, 32)
    np.testing.assert_allclose(found.probability, 0.4, atol=1e-4)


def test_what_the_trained_size_blurs_is_seen_at_a_larger_one():
    """Stripes of a pixel are grey at half the size, and black and white at the page's own."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255

    class Contrast(nn.Module):
        def forward(self, images: torch.Tensor) -> Maps:
            return Maps(8 * images[:, :1].abs() - 10, None)  # (1 - 0.5) / 0.2 = 2.5 gives 10

    detector = make(Contrast())
    assert detector.map_of(stripes).probability.max() < 0.01
    found = average([detector], scales=[2.0]).map_of(stripes)
    assert found.probability.shape == (64, 64)
    assert found.probability.min() > 0.99


def test_a_scaled_view_is_what_a_detector_of_that_size_sees():
    page = np.random.default_rng(1).integers(0, 256, (200, 125, 3), np.uint8)
    twice = make(Red(), replace(PREPROCESS, longest_side_px=128)).map_of(page)
    found = average([make(Red())], scales=[2.0]).map_of(page)
    height, width = found.probability.shape
    assert twice.probability.shape == (2 * height, 2 * width) == (128, 80)
    means = twice.probability.reshape(height, 2, width, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found.probability, means, atol=1e-4)
    both = average([make(Red())], scales=[1.0, 2.0]).map_of(page)
    plain = make(Red()).map_of(page)
    expected = (plain.probability + found.probability) / 2
    np.testing.assert_allclose(both.probability, expected, atol=1e-4)
    np.testing.assert_array_equal(both.affine, plain.affine)


def test_scaled_views_of_a_page_cropped_to_its_text():
    """The crop is found once; the larger view of it is rendered from the page."""
    page = np.zeros((256, 256, 3), np.uint8)
    page[64:128, 64:160] = 255
    settings = replace(PREPROCESS, crop_margin=0.0, longest_side_px=96)
    one = make(Red(), settings)
    plain, found = one.map_of(page), average([one], scales=[2.0]).map_of(page)
    np.testing.assert_array_equal(found.affine, plain.affine)
    assert found.probability.shape == plain.probability.shape
    height, width = found.probability.shape
    assert found.probability[height // 2, width // 2] > 0.9
    assert np.abs(found.probability - plain.probability).mean() < 0.01


def test_scaled_maps_lie_on_the_page_they_came_from():
    ramp = np.arange(128)[None, :] + np.arange(128)[:, None]
    page = np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8)
    detector = make(Red(), replace(PREPROCESS, longest_side_px=128))
    plain = detector.map_of(page).probability
    found = average([detector], scales=[0.5, 2.0]).map_of(page).probability
    # A smooth ramp is what resizing keeps, so any shift would show; borders repeat.
    np.testing.assert_allclose(found[4:-4, 4:-4], plain[4:-4, 4:-4], atol=3e-3)


def test_nothing_to_average_is_the_plain_detector(trained: Path, page: np.ndarray):
    plain, config = load_detector(trained, device="cpu")
    same, same_config = load_average([trained], device="cpu")
    assert same_config == config
    assert isinstance(same.model, type(plain.model))
    tensor, _ = plain.preprocess(page)
    expected = plain.probability(tensor, size=(100, 90))
    np.testing.assert_array_equal(same.probability(tensor, size=(100, 90)), expected)
    twice, _ = load_average([trained, trained], device="cpu")
    assert isinstance(twice.model, Averaged)
    found = twice.probability(tensor, size=(100, 90))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1.01 / 65535)


def test_an_augmented_detector_is_scored_like_any_other(trained: Path, pages: list[Page]):
    detector, _ = load_average([trained, trained], scales=[0.8, 1.0, 1.25], flip=True, device="cpu")
    detector = replace(detector, postprocess=detector.postprocess)  # as its settings are replaced
    assert evaluate(detector, pages).metrics()["hmean"] > 0.5


def test_detectors_of_unlike_preprocessing_are_refused():
    other = make(Constant(0.5), replace(PREPROCESS, longest_side_px=96))
    with pytest.raises(InputError, match=r"one preprocessing; number 1 has .*64.*, number 2 .*96"):
        average([make(Constant(0.5)), other])
    with pytest.raises(InputError, match="at least one"):
        load_average([])


@pytest.mark.parametrize("scales", [[], [0.0], [1.0, 9.0], [-1.0]])
def test_scales_out_of_range_are_refused(scales: list[float]):
    with pytest.raises(ValidationError, match="scales"):
        Views(scales=scales)
