from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional as tv

from detector.data.page.colour import adjust_colour, equalize, equalize_locally, on_luma


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("brightness", [0.8, 1.0, 1.15])
@pytest.mark.parametrize("contrast", [0.7, 1.0, 1.2])
@pytest.mark.parametrize("saturation", [0.0, 1.0, 1.3])
def test_colours_equal_torchvisions(brightness: float, contrast: float, saturation: float) -> None:
    image = 80 + noise(40, 30) // 4  # 80 to 143: nothing is clipped half-way
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    tensor = tv.adjust_saturation(tensor, saturation)
    tensor = tv.adjust_brightness(tensor, brightness)
    expected = 255 * tv.adjust_contrast(tensor, contrast).permute(1, 2, 0).numpy()
    out = adjust_colour(image, brightness=brightness, contrast=contrast, saturation=saturation)
    assert out.dtype == np.uint8
    # Half a level of rounding; cv2 rounds the matrix to 1/1024, up to 0.2 levels here.
    assert np.abs(out - expected).max() <= 0.75


def test_unit_factors_change_nothing_and_extremes_are_clipped() -> None:
    image = noise(16, 16)
    same = adjust_colour(image, brightness=1, contrast=1, saturation=1)
    np.testing.assert_array_equal(same, image)
    white = np.full((4, 4, 3), 250, np.uint8)
    assert (adjust_colour(white, brightness=1.5, contrast=1, saturation=1) == 255).all()


def test_luma_changes_keep_colour() -> None:
    image = np.full((8, 8, 3), (150, 100, 80), np.uint8)
    brighter = on_luma(image, lambda luma: luma + 40).astype(int)
    np.testing.assert_allclose(brighter - image, 40, atol=2)


@pytest.mark.parametrize("change", [equalize, equalize_locally])
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 40, 3), (33, 9, 3)])
def test_equalising_takes_images_of_any_size(change, shape):
    image = noise(*shape[:2])
    assert change(image).shape == shape
