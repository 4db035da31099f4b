from __future__ import annotations

import pickle
from typing import Any

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.core.geometry import transform_points
from detector.data.crops.transforms import Augment

OFF: dict[str, Any] = {
    "crop_px": 64,
    "longest_side_px": 64,
    "scale_min": 1.0,
    "scale_max": 1.0,
    "rotate_deg": 0.0,
    "perspective": 0.0,
    "flip": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "clahe": 0.0,
    "equalize": 0.0,
    "fill": (10, 200, 30),
}
GEOMETRY = {"scale_min": 0.6, "scale_max": 1.5, "rotate_deg": 20.0, "perspective": 0.1, "flip": 0.5}
COLOUR = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "clahe": 0.5, "equalize": 0.5}


def augment(**changes: Any) -> Augment:
    return Augment(**(OFF | changes))


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    return np.array(corners, np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_everything_off_changes_nothing() -> None:
    image, word = noise(64, 64), box(3.5, 4, 20, 9)
    crop, words, matrix = augment()(image, [word], rng())
    np.testing.assert_array_equal(crop, image)
    np.testing.assert_array_equal(words[0], word)
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-12)


def test_flip_by_hand() -> None:
    image = noise(64, 64)
    crop, words, _ = augment(flip=1.0)(image, [box(0, 10, 20, 9)], rng())
    np.testing.assert_array_equal(crop, image[:, ::-1])
    # Pixel 0 becomes pixel 63.
    np.testing.assert_allclose(words[0][:2], [[63, 10], [43, 10]], atol=1e-4)


def test_the_page_is_scaled_to_the_longest_side_first() -> None:
    _, words, matrix = augment(longest_side_px=32, crop_px=32)(
        noise(64, 64), [box(10, 20, 8, 4)], rng()
    )
    # (10 + 0.5) / 2 - 0.5 = 4.75 and (20 + 0.5) / 2 - 0.5 = 9.75.
    np.testing.assert_allclose(words[0], box(4.75, 9.75, 4, 2), atol=1e-4)
    np.testing.assert_allclose(matrix, [[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]], atol=1e-6)


def test_whole_page_is_padded_to_multiples_of_32() -> None:
    image = noise(50, 70)
    crop, words, _ = augment(crop_px=0, longest_side_px=70)(image, [box(1, 2, 3, 4)], rng())
    assert crop.shape == (96, 64, 3)
    np.testing.assert_array_equal(crop[:70, :50], image)
    assert (crop[70:] == OFF["fill"]).all()
    assert (crop[:, 50:] == OFF["fill"]).all()
    np.testing.assert_allclose(words[0], box(1, 2, 3, 4), atol=1e-4)


@given(seed=st.integers(0, 2**31))
@examples(40)
def test_whole_page_shows_the_whole_page(seed: int) -> None:
    page = box(-0.5, -0.5, 90, 60)
    crop, words, _ = augment(crop_px=0, longest_side_px=100, **GEOMETRY)(
        noise(90, 60), [page], rng(seed)
    )
    assert crop.shape[0] % 32 == 0
    assert crop.shape[1] % 32 == 0
    assert (words[0] >= -0.5 - 0.05).all()
    assert (words[0] <= np.array(crop.shape[1::-1]) - 0.5 + 0.05).all()
    span = words[0].max(axis=0) - words[0].min(axis=0)
    assert (np.array(crop.shape[1::-1]) - span < 32.1).all()


def dotted(source: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """A black page with a white dot somewhere in it, and the dot's centre."""
    x, y = source.uniform(30, 210), source.uniform(30, 170)
    xs, ys = np.arange(240) - x, np.arange(200)[:, None] - y
    dot = 255 * np.exp(-(xs**2 + ys**2) / (2 * 5.0**2))
    return np.repeat(dot.round().astype(np.uint8)[..., None], 3, axis=2), x, y


def require_dot(crop: np.ndarray, expected: np.ndarray, longest: int, *, atol: float) -> None:
    """The dot of a 240 px page is where it is expected, if all of it is in the crop."""
    reach = 25 * longest / 240 * 1.5
    if (expected - reach < 0).any() or (expected + reach > 63).any():
        return  # part of the dot is cut off, which moves its centroid
    weight = crop[..., 0].astype(float)
    ys, xs = np.mgrid[:64, :64]
    found = [(weight * xs).sum() / weight.sum(), (weight * ys).sum() / weight.sum()]
    np.testing.assert_allclose(found, expected, atol=atol)


@given(seed=st.integers(0, 2**31), longest=st.sampled_from([60, 150, 400]))
@examples(80)
def test_a_dot_lands_where_its_polygon_lands(seed: int, longest: int) -> None:
    source = rng(seed)
    image, x, y = dotted(source)
    point = np.array([[x, y]] * 4, np.float32)
    crop, words, matrix = augment(longest_side_px=longest, fill=(0, 0, 0), **GEOMETRY)(
        image, [point], source
    )
    expected = words[0][0]
    np.testing.assert_allclose(expected, transform_points([[x, y]], matrix)[0], atol=1e-3)
    require_dot(crop, expected, longest, atol=0.3)


@given(seed=st.integers(0, 2**31), count=st.integers(0, 5))
@examples(40)
def test_polygons_keep_number_order_and_length(seed: int, count: int) -> None:
    source = rng(seed)
    polygons = [
        source.uniform(-20, 120, (int(source.integers(4, 9)), 2)).astype(np.float32)
        for _ in range(count)
    ]
    kept = [p.copy() for p in polygons]
    crop, words, matrix = augment(longest_side_px=100, **GEOMETRY)(noise(100, 80), polygons, source)
    assert crop.shape == (64, 64, 3)
    assert crop.dtype == np.uint8
    assert len(words) == count
    for before, after, original in zip(polygons, words, kept, strict=True):
        np.testing.assert_array_equal(before, original)
        assert after.dtype == np.float32
        expected = cv2.perspectiveTransform(before[None].astype(np.float64), matrix)[0]
        np.testing.assert_allclose(after, expected, atol=1e-2)


@given(seed=st.integers(0, 2**31), words=st.booleans())
@examples(60)
def test_the_crop_stays_on_a_larger_page(seed: int, words: bool) -> None:
    polygons = [box(-300, -300, 5, 5), box(10, 10, 5, 5)] if words else []
    _, _, matrix = augment(longest_side_px=200, scale_min=0.9, scale_max=1.5, flip=0.5)(
        noise(200, 100), polygons, rng(seed)
    )
    window = transform_points(box(-0.5, -0.5, 64, 64), np.linalg.inv(matrix))
    assert (window >= -0.5 - 1e-2).all()
    assert (window <= np.array([200, 100]) - 0.5 + 1e-2).all()


@given(seed=st.integers(0, 2**31))
@examples(30)
def test_a_smaller_page_stays_in_the_crop(seed: int) -> None:
    page = box(-0.5, -0.5, 40, 20)
    _, words, _ = augment(longest_side_px=40)(noise(40, 20), [page], rng(seed))
    assert (words[0] >= -0.5 - 1e-3).all()
    assert (words[0] <= 63.5 + 1e-3).all()


def test_zoom_is_log_uniform() -> None:
    draw = augment(longest_side_px=200, scale_min=0.25, scale_max=4.0)
    image = np.zeros((100, 200, 3), np.uint8)
    source = rng()
    zooms = np.log([draw(image, [], source)[2][0, 0] for _ in range(300)]) / np.log(4)
    assert zooms.min() >= -1 - 1e-9
    assert zooms.max() <= 1 + 1e-9
    # Uniform on [-1, 1]: mean 0 and variance 1/3, three standard errors of 300 draws.
    assert abs(zooms.mean()) < 0.1
    assert abs(zooms.var() - 1 / 3) < 0.06


def test_rotation_is_about_the_centre_and_within_range() -> None:
    draw = augment(longest_side_px=64, rotate_deg=30.0, crop_px=0)
    angles = []
    for seed in range(100):
        matrix = draw(np.zeros((64, 64, 3), np.uint8), [], rng(seed))[2]
        angles.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        np.testing.assert_allclose(np.linalg.det(matrix), 1.0, atol=1e-9)
        np.testing.assert_allclose(
            transform_points(box(-0.5, -0.5, 64, 64), matrix).min(axis=0), -0.5, atol=1e-3
        )
    assert min(angles) < -25
    assert max(angles) > 25
    assert np.abs(angles).max() <= 30


def test_most_crops_hold_a_word_where_words_are_rare() -> None:
    image = np.zeros((1000, 1000, 3), np.uint8)
    word = box(700, 300, 20, 10)
    draw = augment(longest_side_px=1000)

    def share(polygons: list[np.ndarray]) -> float:
        hits = 0
        for seed in range(200):
            matrix = draw(image, polygons, rng(seed))[2]
            centre = transform_points([[710, 305]], matrix)[0]
            hits += bool((centre >= 0).all() and (centre <= 63).all())
        return hits / 200

    assert 0.72 < share([word]) < 0.88
    assert share([]) < 0.05


def test_uniform_crops_cover_a_blank_page_evenly() -> None:
    draw = augment(longest_side_px=264)
    image = np.zeros((264, 264, 3), np.uint8)
    corners = np.array([-draw(image, [], rng(seed))[2][:2, 2] for seed in range(300)])
    assert corners.min() >= -1e-6
    assert corners.max() <= 200 + 1e-6
    np.testing.assert_allclose(corners.mean(axis=0), 100, atol=12)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (50, 1000), (1000, 50), (300, 300)])
def test_the_strongest_settings_keep_the_page_before_the_camera(size: tuple[int, int]) -> None:
    width, height = size
    strong = {"perspective": 0.3, "rotate_deg": 180.0, "scale_min": 0.1, "scale_max": 10.0}
    draw = augment(longest_side_px=300, **strong)
    image = np.full((height, width, 3), 255, np.uint8)
    page = box(-0.5, -0.5, width, height)
    for seed in range(40):
        crop, words, matrix = draw(image, [page], rng(seed))
        depth = page @ matrix[2, :2] + matrix[2, 2]
        assert depth.min() >= 0.49 * depth.max() > 0
        assert np.isfinite(words[0]).all()
        assert crop.shape == (64, 64, 3)


def test_perspective_stays_small_on_a_long_receipt() -> None:
    draw = augment(longest_side_px=1000, perspective=0.02)
    line = np.array([[0, 500], [49, 500], [49, 510], [0, 510]], np.float32)
    for seed in range(50):
        _, words, _ = draw(np.zeros((1000, 50, 3), np.uint8), [line], rng(seed))
        (dx, dy) = words[0][1] - words[0][0]
        assert abs(np.degrees(np.arctan2(dy, dx))) < 3


def test_same_generator_same_crop() -> None:
    image, words = noise(120, 90), [box(10, 10, 30, 8), box(50, 40, 30, 8)]
    draw = augment(longest_side_px=120, **GEOMETRY, **COLOUR)
    first, second, other = (draw(image, words, rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[2], second[2])
    assert not np.array_equal(first[2], other[2])
    assert not np.array_equal(first[0], other[0])


def test_colour_settings_do_not_move_the_crop() -> None:
    image, words = noise(120, 90), [box(10, 10, 30, 8)]
    plain = augment(longest_side_px=120, **GEOMETRY)(image, words, rng(3))
    coloured = augment(longest_side_px=120, **GEOMETRY, **COLOUR)(image, words, rng(3))
    np.testing.assert_array_equal(plain[2], coloured[2])
    assert not np.array_equal(plain[0], coloured[0])


def test_it_travels_to_loader_processes() -> None:
    draw = augment(**COLOUR)
    assert pickle.loads(pickle.dumps(draw)) == draw


def test_a_point_behind_the_camera_is_refused() -> None:
    draw = augment(longest_side_px=100, perspective=0.3)
    # Wherever the horizon is, one of these corners lies beyond it.
    far = box(-1e5, -1e5, 2e5, 2e5)
    with pytest.raises(InputError, match=r"polygon point \(.*\) lies so far outside the page"):
        draw(noise(100, 100), [far], rng())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_px": 100}, "augment.crop_px: must be a multiple of 32, got 100"),
        ({"scale_min": 2.0}, "augment.scale_min: .* got 2.0 and 1.0"),
        ({"crop_px": 0, "longest_side_px": 12289}, "augment.crop_px: 0 trains on whole pages"),
    ],
)
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        augment(**changes)


def test_not_an_image() -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        augment()(np.zeros((64, 64), np.uint8), [], rng())


def test_equalising_spreads_grey_and_keeps_it_grey() -> None:
    ramp = np.linspace(100, 140, 64).astype(np.uint8)
    image = np.repeat(np.tile(ramp, (64, 1))[..., None], 3, axis=2)
    for setting in ({"equalize": 1.0}, {"clahe": 1.0}):
        crop, _, _ = augment(**setting)(image, [], rng())
        assert crop[..., 0].std() > 1.1 * image.std()
        assert np.ptp(crop.astype(int), axis=2).max() <= 1
    equalised, _, _ = augment(equalize=1.0)(image, [], rng())
    assert equalised.min() <= 5
    assert equalised.max() >= 250


@given(seed=st.integers(0, 2**31), longest=st.sampled_from([60, 150, 400]))
@example(seed=214999438, longest=60)
@examples(50)
def test_a_dot_of_a_crumpled_page_lands_where_its_polygon_lands(seed: int, longest: int) -> None:
    source = rng(seed)
    image, x, y = dotted(source)
    point = np.array([[x, y]] * 4, np.float32)
    crop, words, _ = augment(longest_side_px=longest, fill=(0, 0, 0), crumple=0.05, **GEOMETRY)(
        image, [point], source
    )
    expected = words[0][0]
    # A bend moves the centroid of something wide a little off its middle.
    require_dot(crop, expected, longest, atol=0.4 + 0.006 * longest)


def test_crumpling_is_drawn_last_and_nothing_is_without_it() -> None:
    image, words = noise(120, 90), [box(10, 10, 30, 8)]
    flat, crumpled = rng(3), rng(3)
    plain = augment(crop_px=0, longest_side_px=120, **GEOMETRY)(image, words, flat)
    bent = augment(crop_px=0, longest_side_px=120, crumple=0.05, **GEOMETRY)(image, words, crumpled)
    np.testing.assert_allclose(bent[2][:2, :2] / bent[2][2, 2], plain[2][:2, :2], rtol=0.05)
    assert not np.allclose(bent[1][0][0], plain[1][0][0], atol=0.5)
    # 20 numbers, and x and y of 4 x 4 points more.
    expected = rng(3)
    expected.random(20)
    assert flat.random() == expected.random()
    expected = rng(3)
    expected.random(52)
    assert crumpled.random() == expected.random()


@given(seed=st.integers(0, 2**31), crumple=st.sampled_from([0.01, 0.05, 0.1]))
@examples(30)
def test_a_crumpled_word_keeps_its_outline(seed: int, crumple: float) -> None:
    draw = augment(crop_px=0, longest_side_px=300, crumple=crumple)
    word = box(40, 120, 150, 20)
    dense = np.concatenate(
        [np.linspace(a, b, 40, False) for a, b in zip(word, np.roll(word, -1, 0), strict=True)]
    ).astype(np.float32)
    image = noise(220, 300)
    _, (few, many), _ = draw(image, [word, dense], rng(seed))
    assert len(few) > 4
    off = [abs(cv2.pointPolygonTest(few[:, None], (float(x), float(y)), True)) for x, y in many]
    assert max(off) < 1.5


@given(seed=st.integers(0, 2**31))
@examples(30)
def test_a_whole_crumpled_page_is_shown(seed: int) -> None:
    image = np.full((60, 90, 3), 255, np.uint8)
    crop, (page,), _ = augment(crop_px=0, longest_side_px=90, fill=(0, 0, 0), crumple=0.1)(
        image, [box(-0.5, -0.5, 90, 60)], rng(seed)
    )
    assert (page >= -0.5 - 0.05).all()
    assert (page <= np.array(crop.shape[1::-1]) - 0.5 + 0.05).all()
    x, y = page.astype(float).T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert crop[..., 0].sum() / 255 == pytest.approx(area, rel=0.02)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (300, 3)])
def test_crumpling_the_smallest_pages(size: tuple[int, int]) -> None:
    image = noise(*size)
    crop, words, matrix = augment(crumple=0.1, **GEOMETRY)(image, [], rng())
    assert crop.shape == (64, 64, 3)
    assert words == []
    assert np.isfinite(matrix).all()
    _, words, _ = augment(crumple=0.1)(image, [box(-1e6, -5, 2e6, 3), np.zeros((0, 2))], rng())
    assert np.isfinite(words[0]).all()
    assert words[1].shape == (0, 2)
