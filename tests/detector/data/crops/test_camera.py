from __future__ import annotations

import math
from functools import partial

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.data.crops.camera import (
    EFFECTS,
    add_noise,
    bend_tones,
    compress,
    defocus,
    motion,
    photographed,
    shade,
    shake,
)

SEEDS = st.integers(0, 2**31)
ONE = {name: 0.5 if name == "gamma" else 1.0 for name in EFFECTS}


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(value: int, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def lone(name: str, image: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    return photographed(image, np.random.default_rng(seed), **{name: ONE[name]})


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    image, rng = noise(40, 30), np.random.default_rng(1)
    assert photographed(image, rng) is image
    assert rng.random() == np.random.default_rng(1).random()


@pytest.mark.parametrize("name", EFFECTS)
@given(seed=SEEDS)
@examples(20)
def test_an_effect_depends_on_the_seed_alone_and_leaves_its_crop(name: str, seed: int) -> None:
    image = noise(48, 64, seed % 7)
    kept = image.copy()
    first = lone(name, image, seed)
    assert (first.shape, first.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(image, kept)
    cv2.randu(np.zeros((4, 4), np.uint8), 0, 255)  # OpenCV's own generator plays no part
    np.testing.assert_array_equal(lone(name, image, seed), first)


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_that_is_asked_for_shows(name: str) -> None:
    image = noise(48, 64)
    assert np.abs(lone(name, image).astype(int) - image).mean() > 1


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (32, 32), (33, 9)])
def test_crops_of_any_size_and_colour_are_taken(name: str, shape: tuple[int, int]) -> None:
    for image in (noise(*shape), flat(0, *shape), flat(255, *shape)):
        assert lone(name, image).shape == image.shape


@pytest.mark.parametrize("name", EFFECTS)
@given(seed=SEEDS)
@examples(10)
def test_grey_stays_grey(name: str, seed: int) -> None:
    grey = np.repeat(noise(32, 32, seed % 7)[..., :1], 3, axis=2)
    found = lone(name, grey, seed).astype(int)
    assert np.ptp(found, axis=2).max() <= (2 if name == "jpeg" else 0)


@given(seed=SEEDS)
@examples(10)
def test_one_effect_does_not_change_the_others(seed: int) -> None:
    """What all but the last give, compressed, is what all give."""
    image = noise(48, 48)
    *some, last = EFFECTS
    assert last == "jpeg"
    before = photographed(image, np.random.default_rng(seed), **{name: ONE[name] for name in some})
    found = photographed(image, np.random.default_rng(seed), **ONE)
    assert any(np.array_equal(found, compress(before, quality)) for quality in range(30, 91))


@given(
    angle=st.floats(0, 2 * math.pi),
    cover=st.floats(0.2, 0.6),
    edge=st.floats(0.02, 0.3),
    light=st.floats(0.35, 0.85),
)
@examples(40)
def test_a_shadow_is_dark_on_one_side_and_nothing_on_the_other(
    angle: float, cover: float, edge: float, light: float
) -> None:
    found = shade(flat(200, 80, 120), angle, cover, edge, light)[..., 0].astype(int)
    assert found.min() >= round(200 * light) - 1
    assert found.max() <= 200
    y, x = np.mgrid[:80, :120]
    order = np.argsort((math.cos(angle) * x + math.sin(angle) * y).ravel(), kind="stable")
    values = found.ravel()[order]
    assert (np.diff(values) >= -1).all()  # brighter all the way, but for rounding
    assert values[-1] == 200


def test_a_shadow_by_hand() -> None:
    """Columns 0 to 10, an edge of 4 px around column 5: 3 to 7."""
    diagonal = math.hypot(11, 1)
    found = shade(flat(100, 1, 11), 0.0, 0.5, 4 / diagonal, 0.5)[0, :, 0]
    rise = [0, 0.15625, 0.5, 0.84375, 1]  # 3 t^2 - 2 t^3 at quarters
    expected = [50] * 3 + [50 + 50 * t for t in rise] + [100] * 3
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-3)


@given(length=st.floats(1, 20), angle=st.floats(0, math.pi))
@examples(40)
def test_a_motion_is_as_long_as_it_says_and_keeps_the_light(length: float, angle: float) -> None:
    kernel = motion(length, angle).astype(float)
    side = kernel.shape[0]
    assert side % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    away = np.arange(side) - side // 2
    mean = np.array([(kernel * away).sum(), (kernel * away[:, None]).sum()])
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    # The variance of a line of this length, and of bilinear weights across: up to 1/4 an axis.
    spread = (kernel * (away**2 + away[:, None] ** 2)).sum()
    assert length**2 / 12 - 1e-6 <= spread <= length**2 / 12 + 1.0


def test_a_motion_along_the_row_leaves_columns_apart() -> None:
    kernel = motion(4.0, 0.0)
    assert np.count_nonzero(kernel.sum(axis=1) > 1e-6) == 1
    np.testing.assert_allclose(kernel[2, 1:4], 0.25, atol=0.01)


@pytest.mark.parametrize("change", [partial(defocus, sigma_px=1.5), partial(shake, length_px=7.0)])
@given(seed=SEEDS)
@examples(10)
def test_blur_keeps_flat_paper_and_takes_contrast(change, seed: int) -> None:
    angle = {"angle": seed % 314 / 100} if change.func is shake else {}
    np.testing.assert_array_equal(change(flat(137), **angle), flat(137))
    image = noise(64, 64, seed % 7)
    found = change(image, **angle)
    assert found.mean() == pytest.approx(image.mean(), abs=4)
    assert found.std() < 0.7 * image.std()


def test_noise_has_the_size_asked_for_and_no_mean() -> None:
    found = add_noise(flat(128, 256, 256), 8.0, np.random.default_rng(0)).astype(float)
    assert found.mean() == pytest.approx(128, abs=0.2)
    assert found[..., 0].std() == pytest.approx(math.hypot(8, 12**-0.5), rel=0.02)
    spectrum = np.corrcoef(found[:, :-1, 0].ravel(), found[:, 1:, 0].ravel())[0, 1]
    assert abs(spectrum) < 0.02  # each pixel for itself


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.0, 1.4, 1.9])
def test_tones_are_bent_in_order_between_black_and_white(exponent: float) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    found = bend_tones(ramp, exponent)[0, :, 0].astype(int)
    assert (found[0], found[255]) == (0, 255)
    assert (np.diff(found) >= 0).all()
    assert found[64] == round(255 * (64 / 255) ** exponent)
    if exponent == 1.0:
        np.testing.assert_array_equal(found, ramp[0, :, 0])


def test_a_better_quality_keeps_more_and_colours_keep_their_place() -> None:
    image = cv2.GaussianBlur(noise(64, 64), (0, 0), 2.0)
    lost = [
        np.abs(compress(image, quality).astype(int) - image).mean() for quality in (30, 60, 90, 100)
    ]
    assert lost == sorted(lost, reverse=True)
    red = compress(np.full((32, 32, 3), (200, 30, 60), np.uint8), 90)
    np.testing.assert_allclose(red[16, 16], (200, 30, 60), atol=4)
