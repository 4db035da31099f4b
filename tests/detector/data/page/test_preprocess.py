from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.config.settings import DataConfig, PreprocessConfig
from detector.core.errors import InputError
from detector.core.geometry import transform_points
from detector.data.page.prepare import Preparation
from detector.data.page.preprocess import (
    LONGEST_SIDE_PX,
    SHORTEST_SIDE_PX,
    Preprocess,
    page_sides,
    resize_affine,
)

HALF = (0.5, 0.5, 0.5)


def plain(longest_side_px: int, stride: int = 32) -> Preprocess:
    return Preprocess(longest_side_px, HALF, HALF, stride)


def blob(width: int, height: int, x: float, y: float, sigma: float) -> np.ndarray:
    """A white Gaussian dot on black, centred on (x, y)."""
    xs, ys = np.arange(width) - x, np.arange(height)[:, None] - y
    grey = 255 * np.exp(-(xs**2 + ys**2) / (2 * sigma**2))
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)


def centroid(tensor: torch.Tensor) -> tuple[float, float]:
    weight = tensor[0].double()
    ys, xs = torch.meshgrid(*(torch.arange(n) for n in weight.shape), indexing="ij")
    return float((weight * xs).sum() / weight.sum()), float((weight * ys).sum() / weight.sum())


def test_size_padding_and_affine_by_hand() -> None:
    tensor, affine = plain(96)(np.full((200, 300, 3), 255, np.uint8))
    assert tensor.shape == (3, 64, 96)
    assert tensor.dtype == torch.float32
    assert affine.dtype == np.float64
    # 96 / 300 = 0.32 and 64 / 200 = 0.32; the offset is 0.5 * 0.32 - 0.5.
    np.testing.assert_allclose(affine, [[0.32, 0, -0.34], [0, 0.32, -0.34]], atol=1e-12)
    assert (tensor == 1).all()


def test_scale_is_exact_per_axis_after_rounding() -> None:
    # 100 * 64 / 301 = 21.26, rounded to 21 rows.
    tensor, affine = plain(64)(np.full((100, 301, 3), 255, np.uint8))
    assert affine[0, 0] == 64 / 301
    assert affine[1, 1] == 21 / 100
    assert tensor.shape == (3, 32, 64)
    assert (tensor[:, :21] == 1).all()
    assert (tensor[:, 21:] == 0).all()


def test_normalisation_is_per_rgb_channel() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 0] = (255, 0, 51)
    tensor = Preprocess(2, (0.5, 0.25, 0.0), (0.5, 0.5, 0.2)).normalize(image)
    assert tensor.shape == (3, 1, 2)
    assert tensor.is_contiguous()
    np.testing.assert_allclose(tensor[:, 0, 0], [1.0, -0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(tensor[:, 0, 1], [-1.0, -0.5, 0.0], atol=1e-6)


def test_same_size_is_not_resampled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    tensor, affine = plain(64)(image)
    assert torch.equal(tensor, plain(64).normalize(image))
    np.testing.assert_array_equal(affine, [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("longest", [64, 100, 160, 333])
@pytest.mark.parametrize(("x", "y"), [(60, 40), (101.5, 33.25), (45, 80)])
def test_a_dot_lands_where_the_affine_says(longest: int, x: float, y: float) -> None:
    image = blob(160, 110, x, y, sigma=6)
    tensor, affine = Preprocess(longest, (0, 0, 0), (1, 1, 1))(image)
    np.testing.assert_allclose(
        centroid(tensor), transform_points([[x, y]], affine)[0], atol=0.05, err_msg=str(longest)
    )


@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    longest=st.integers(1, 4096),
    u=st.floats(0, 1),
    v=st.floats(0, 1),
)
def test_points_return_through_the_inverse(
    width: int, height: int, longest: int, u: float, v: float
) -> None:
    new = plain(longest).resized(width, height)
    assert max(new) == longest
    assert min(new) >= 1
    affine = resize_affine((width, height), new)
    square = np.vstack([affine, [0, 0, 1]])
    point = np.array([[u * width - 0.5, v * height - 0.5]])
    there = transform_points(point, affine)
    assert (there >= -0.5 - 1e-3).all()
    assert (there <= np.array(new) - 0.5 + 1e-3).all()
    np.testing.assert_allclose(
        transform_points(there.astype(np.float64), np.linalg.inv(square)),
        point,
        atol=1e-3 * max(1, width / new[0], height / new[1]),
    )


@given(longest=st.integers(1, 300), width=st.integers(1, 120), height=st.integers(1, 120))
@examples(50)
def test_any_page_gives_multiples_of_the_stride(longest: int, width: int, height: int) -> None:
    tensor, _ = plain(longest, stride=16)(np.zeros((height, width, 3), np.uint8))
    assert tensor.shape[1] % 16 == 0
    assert tensor.shape[2] % 16 == 0
    assert max(tensor.shape[1:]) - longest in range(16)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 1), (64, 64)),
        ((1, 5000), (32, 64)),
        ((5000, 1), (64, 32)),
        ((2000, 100), (64, 32)),
        ((6000, 4000), (64, 64)),
    ],
)
def test_extreme_shapes(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    tensor, affine = plain(64)(np.full((*shape, 3), 255, np.uint8))
    assert tuple(tensor.shape[1:]) == expected
    assert np.isfinite(affine).all()
    assert (affine[[0, 1], [0, 1]] > 0).all()
    assert tensor[0, 0, 0] == 1


def test_views_and_the_argument_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    kept = image.copy()
    mirrored, _ = plain(40)(image[:, ::-1])
    copied, _ = plain(40)(np.ascontiguousarray(image[:, ::-1]))
    assert torch.equal(mirrored, copied)
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_not_an_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB .* got"):
        plain(64)(image)


def test_fill_is_what_normalises_to_about_zero() -> None:
    preprocess = Preprocess(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert preprocess.fill == (124, 116, 104)
    tensor = preprocess.normalize(np.full((1, 1, 3), preprocess.fill, np.uint8))
    assert tensor.abs().max() < 0.01


def test_dict_survives_json() -> None:
    preprocess = Preprocess(1024, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 64)
    values = json.loads(json.dumps(preprocess.to_dict()))
    assert Preprocess.from_dict(values) == preprocess


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"longest_side_px": 0}, "longest_side_px: must be a whole number >= 1, got 0"),
        ({"longest_side_px": 64.5}, "longest_side_px: must be a whole number >= 1, got 64.5"),
        ({"stride": True}, "stride: must be a whole number >= 1, got True"),
        ({"mean": [0.5, 0.5]}, r"mean: must be three numbers, got \[0.5, 0.5\]"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean: must be three finite numbers"),
        ({"std": [0.5, 0.5, 0]}, "std: must be three numbers > 0"),
        ({"colour": 1}, "needs the keys .* unknown: colour"),
    ],
)
def test_bad_dict(change: dict, message: str) -> None:
    values = plain(64).to_dict() | change
    with pytest.raises(InputError, match=message):
        Preprocess.from_dict(values)


def test_missing_key() -> None:
    values = plain(64).to_dict()
    del values["std"]
    with pytest.raises(InputError, match="missing: std, unknown: none"):
        Preprocess.from_dict(values)


def test_a_shortest_side_by_hand() -> None:
    by_shortest = replace(plain(1000), shortest_side_px=100)
    assert by_shortest.resized(300, 200) == (150, 100)
    assert by_shortest.resized(200, 300) == (100, 150)
    assert by_shortest.resized(50, 25) == (200, 100)
    # 100 x 2000 would be longer than allowed: the longest side decides.
    assert by_shortest.resized(20, 400) == (50, 1000)


def test_sides_that_are_left_open() -> None:
    """The default, and its numbers as --help gives them."""
    assert page_sides(None, None) == (8192, 736)
    assert page_sides(None, 500) == (8192, 500)
    assert page_sides(1024, None) == (1024, None)
    assert page_sides(1024, 500) == (1024, 500)
    assert page_sides(1024, 500, 1.25) == (1280, 625)
    assert page_sides(1024, None, 0.5) == (512, None)
    assert page_sides(None, None, 1.25) == (8192, 920)  # 8192 is a limit, no size of a page
    longest = DataConfig.model_fields["longest_side_px"].description or ""
    shortest = PreprocessConfig.model_fields["shortest_side_px"].description or ""
    assert str(LONGEST_SIDE_PX) in longest
    assert str(SHORTEST_SIDE_PX) in shortest


def test_a_prepared_page_is_the_resized_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    page = plain(64).prepare(image)
    tensor, affine = plain(64)(image)
    assert torch.equal(plain(64).tensor(page.image), tensor)
    np.testing.assert_array_equal(page.affine, affine)
    assert (page.size, page.flattening) == ((30, 40), None)


def test_a_crop_has_the_scale_of_its_own_size() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    cropping = replace(plain(64), crop_margin=0.0)
    page = cropping.prepare(image)
    assert page.image is image  # in full, until it is known what to crop
    part = cropping.crop(page, (50, 20, 82, 36))
    assert part.image.shape == (32, 64, 3)
    # Pixel 50 spans 49.5 to 50.5, which becomes -0.5 to 1.5; so x becomes 2 (x - 50) + 0.5.
    np.testing.assert_allclose(part.affine, [[2, 0, -99.5], [0, 2, -39.5]])
    assert cropping.crop(page, None).image.shape == (32, 64, 3)


def test_what_was_saved_before_a_setting_existed_is_read() -> None:
    old = {"longest_side_px": 96, "mean": [0.5] * 3, "std": [0.5] * 3, "stride": 32}
    assert Preprocess.from_dict(old) == plain(96)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile_px": 100}, "tile_px, tile_overlap_px: must be multiples of 32, got 100 and 128"),
        ({"tile_px": 64}, "tile_overlap_px: must not exceed half of tile_px, 64, got 128"),
        ({"tile_overlap_px": -32}, "must be multiples of 32, got 0 and -32"),
        ({"shortest_side_px": 0}, "shortest_side_px: must be a whole number >= 1, got 0"),
        ({"crop_margin": -0.1}, "crop_margin: must be a number >= 0 or null, got -0.1"),
        ({"crop_margin": "a"}, "crop_margin: must be a number >= 0 or null, got 'a'"),
        ({"preparation": {"contrast": "x"}}, "preprocess.contrast: must be"),
    ],
)
def test_bad_settings_of_the_page(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess.from_dict(plain(64).to_dict() | change)


def test_all_settings_survive_json() -> None:
    preparation = Preparation(background="paper", contrast="clahe", flatten="spline")
    made = Preprocess(640, HALF, HALF, 32, 320, preparation, 0.1, 512, 64)
    assert Preprocess.from_dict(json.loads(json.dumps(made.to_dict()))) == made
