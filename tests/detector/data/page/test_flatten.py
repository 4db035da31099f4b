from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.errors import InputError
from detector.core.geometry import transform_points
from detector.data.page.flatten import Flattening, Method, find_flattening
from detector.data.page.prepare import Preparation
from detector.data.page.spline import fit_bend, resample

METHODS: tuple[Method, ...] = ("perspective", "spline")
FILL = (10, 200, 30)
TABLE = (60, 50, 40)
SHEET = np.array([(0, 0), (300, 0), (300, 500), (0, 500)], float)  # on the paper
TILTED = np.array([(110, 90), (400, 130), (380, 640), (60, 590)], float)  # on the page
PAGE = (480, 720)


def paper() -> np.ndarray:
    """A printed sheet with a marked border, pixels (0, 0) to (300, 500)."""
    image = np.full((501, 301, 3), (235, 232, 225), np.uint8)
    for y in range(30, 480, 25):
        image[y : y + 8, 30:270:2] = 30
    return image


def photo(corners: np.ndarray = TILTED, size: tuple[int, int] = PAGE) -> np.ndarray:
    matrix = cv2.getPerspectiveTransform(SHEET.astype(np.float32), corners.astype(np.float32))
    return cv2.warpPerspective(paper(), matrix, size, flags=cv2.INTER_AREA, borderValue=TABLE)


def bent_photo(depth: float = 12) -> tuple[np.ndarray, Any]:
    """The paper shifted sideways in an S and then tilted, and the map from paper to page."""
    y = np.linspace(0, 500, 9)
    centres = np.concatenate([np.column_stack([0 * y + x, y]) for x in (0, 150, 300)])
    moves = np.column_stack([depth * np.sin(2 * np.pi * centres[:, 1] / 500), 0 * centres[:, 0]])
    bend = fit_bend(centres, moves, SHEET[[0, 2]])
    matrix = cv2.getPerspectiveTransform(SHEET.astype(np.float32), TILTED.astype(np.float32))
    inverse = np.linalg.inv(matrix)
    image = resample(paper(), lambda p: bend(transform_points(p, inverse)), PAGE, TABLE)
    return image, lambda p: transform_points(bend.inverse(p), matrix)


def found(image: np.ndarray, method: Method) -> Flattening:
    flattening = find_flattening(image, method)
    assert flattening is not None
    return flattening


@pytest.mark.parametrize("method", METHODS)
def test_a_tilted_sheet_becomes_an_upright_rectangle(method: Method) -> None:
    image = photo()
    before = image.copy()
    flattening = found(image, method)
    np.testing.assert_array_equal(image, before)
    corners = flattening.to_flat(TILTED)
    sides = np.roll(corners, -1, axis=0) - corners
    # Upright to 1.5 px at either end.
    assert np.abs([sides[0, 1], sides[1, 0], sides[2, 1], sides[3, 0]]).max() < 3
    lengths = np.linalg.norm(np.roll(TILTED, -1, axis=0) - TILTED, axis=1)
    np.testing.assert_allclose(sides[0, 0], (lengths[0] + lengths[2]) / 2, atol=4)
    np.testing.assert_allclose(sides[1, 1], (lengths[1] + lengths[3]) / 2, atol=4)
    flat = flattening(image, FILL)
    assert flat.shape == (flattening.size[1], flattening.size[0], 3)
    assert flat.dtype == np.uint8
    left, top = np.round(corners.min(axis=0)).astype(int) + 4
    right, bottom = np.round(corners.max(axis=0)).astype(int) - 4
    assert np.median(flat[top:bottom, left:right]) > 200
    border = [flat[top, left:right], flat[bottom, left:right], flat[top:bottom, left]]
    assert all((part > 150).all() for part in border)
    assert (flat[top - 9, left:right] < 100).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_whole_page_is_shown_where_it_is_little_larger_than_the_sheet(method: Method) -> None:
    corners = np.array([(40, 30), (380, 60), (370, 650), (25, 610)], float)
    flattening = found(photo(corners, (420, 700)), method)
    edge = flattening.to_flat([(0, 0), (419, 0), (419, 699), (0, 699)])
    assert edge.min() >= -0.5
    assert (edge <= np.array(flattening.size) - 0.5).all()


def test_of_a_large_table_a_quarter_of_the_sheet_is_shown_on_each_side() -> None:
    corners = np.array([(310, 310), (650, 350), (630, 940), (260, 890)], float)
    flattening = found(photo(corners, (1000, 1250)), "perspective")
    width, height = np.ptp(flattening.flat, axis=0)
    np.testing.assert_allclose(flattening.size, (1.5 * width, 1.5 * height), rtol=0.03)


@pytest.mark.parametrize("method", METHODS)
@examples(25)
@given(seed=st.integers(0, 2**31))
def test_the_two_ways_undo_each_other(method: Method, seed: int) -> None:
    rng = np.random.default_rng(seed)
    flattening = found(bent_photo()[0], method)
    low, high = flattening.flat[:4].min(axis=0), flattening.flat[:4].max(axis=0)
    flat = rng.uniform(low, high, (40, 2))
    np.testing.assert_allclose(flattening.to_flat(flattening.to_source(flat)), flat, atol=0.05)
    page = rng.uniform(0, PAGE, (40, 2))
    np.testing.assert_allclose(flattening.to_source(flattening.to_flat(page)), page, atol=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_points_are_mapped_one_by_one(method: Method) -> None:
    flattening = found(bent_photo()[0], method)
    points = np.random.default_rng(0).uniform(-100, 900, (57, 2))
    for move in (flattening.to_flat, flattening.to_source):
        whole = move(points)
        assert whole.dtype == np.float32
        alone = np.concatenate([move(points[i : i + 1]) for i in range(57)])
        assert whole.tobytes() == alone.tobytes()
        assert move(np.zeros((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_far_away_stays_finite_and_outside(method: Method) -> None:
    flattening = found(photo(), method)
    far = [(s * x, t * x) for x in (1e4, 1e9, 1e300) for s in (-1, 0, 1) for t in (-1, 1)]
    for move in (flattening.to_flat, flattening.to_source):
        assert np.isfinite(move(far)).all()
    flat = flattening.to_flat(far)
    inside = (flat >= -0.5) & (flat <= np.array(flattening.size) - 0.5)
    assert not inside.all(axis=1).any()


def test_a_bent_sheet_is_straightened_by_the_spline_only() -> None:
    image, to_page = bent_photo()
    y = np.linspace(60, 440, 20)

    def waviness(method: Method, column: float) -> float:
        line = to_page(np.column_stack([0 * y + column, y]))
        x = found(image, method).to_flat(line)[:, 0]
        return float(np.ptp(x - np.polyval(np.polyfit(y, x, 1), y)))

    assert all(waviness("perspective", x) > 10 for x in (8, 150, 292))
    assert all(waviness("spline", x) < 2 for x in (8, 292))
    assert waviness("spline", 150) < 6  # furthest from what is seen of the bends


def test_a_pixel_lands_where_its_point_lands() -> None:
    image, to_page = bent_photo()
    x, y = to_page([(150, 262)])[0].round().astype(int)
    image[y - 4 : y + 5, x - 4 : x + 5] = (255, 0, 0)
    for method in METHODS:
        flattening = found(image, method)
        flat = flattening(image, FILL).astype(float)
        red = np.clip(flat[..., 0] - flat[..., 1] - 40, 0, None)
        ys, xs = np.mgrid[: red.shape[0], : red.shape[1]]
        centre = [(red * xs).sum() / red.sum(), (red * ys).sum() / red.sum()]
        np.testing.assert_allclose(centre, flattening.to_flat([(x, y)])[0], atol=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_a_large_page_gives_the_same_larger(method: Method) -> None:
    small = found(photo(), method)
    large = found(cv2.resize(photo(), (1440, 2160), interpolation=cv2.INTER_CUBIC), method)
    np.testing.assert_allclose(large.size, 3 * np.array(small.size), rtol=0.02)


def test_a_sideways_sheet_turns_by_less_than_45_degrees() -> None:
    matrix = cv2.getRotationMatrix2D((240, 360), 70, 0.75)
    corners = transform_points(TILTED, matrix).astype(float)
    flattening = found(photo(corners, (520, 720)), "perspective")
    right = flattening.to_source([(300, 200)]) - flattening.to_source([(200, 200)])
    assert right[0, 0] > abs(right[0, 1])


def ragged() -> np.ndarray:
    image = photo()
    rng = np.random.default_rng(0)
    for _ in range(60):
        cv2.circle(image, [int(v) for v in rng.uniform(0, PAGE)], 60, TABLE, -1)
    return image


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "image",
    [
        np.full((300, 200, 3), 255, np.uint8),
        np.zeros((300, 200, 3), np.uint8),
        np.full((1, 1, 3), 9, np.uint8),
        np.full((1, 900, 3), 90, np.uint8),
        np.full((3000, 2, 3), 90, np.uint8),
        np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8),
        np.random.default_rng(0).integers(0, 256, (160, 120, 3), dtype=np.uint8),
        paper(),
        photo(SHEET + 12, (325, 525)),
        photo(TILTED * 0.25 + 100),
        photo()[::20, ::20],
        ragged(),
    ],
    ids=[
        "white",
        "black",
        "pixel",
        "row",
        "column",
        "two",
        "noise",
        "scan",
        "upright",
        "small",
        "tiny",
        "ragged",
    ],
)
def test_a_page_without_a_clear_tilted_sheet_stays(image: np.ndarray, method: Method) -> None:
    assert find_flattening(image, method) is None
    prepared, flattening = Preparation(flatten=method)(image, FILL)
    assert prepared is image
    assert flattening is None


def wavy_photo(depth: float) -> np.ndarray:
    """A tilted sheet whose left side swings by +- `depth` px every 100 px."""
    y = np.linspace(60, 640, 200)
    left = np.column_stack([60 + depth * np.sin(2 * np.pi * y / 100), y])
    outline = np.concatenate([left, [(400, 660), (430, 80)]])
    image = np.full((720, 480, 3), TABLE, np.uint8)
    cv2.fillPoly(image, [outline.round().astype(np.int32)], (235, 232, 225))
    return image


def test_what_is_too_steep_for_paper_gets_the_perspective() -> None:
    assert found(wavy_photo(4), "spline").method == "spline"
    steep = found(wavy_photo(14), "spline")
    assert steep.method == "perspective"
    assert steep.to_dict() == found(wavy_photo(14), "perspective").to_dict()


@pytest.mark.parametrize("method", METHODS)
def test_through_json_and_pickle_to_the_bit(method: Method) -> None:
    flattening = found(bent_photo()[0], method)
    points = np.random.default_rng(0).uniform(0, 700, (20, 2))
    expected = flattening.to_flat(points).tobytes(), flattening.to_source(points).tobytes()
    for copied in (
        Flattening.from_dict(json.loads(json.dumps(flattening.to_dict()))),
        pickle.loads(pickle.dumps(flattening)),
    ):
        assert copied.size == flattening.size
        assert copied.to_dict() == flattening.to_dict()
        assert (copied.to_flat(points).tobytes(), copied.to_source(points).tobytes()) == expected


GOOD = found(bent_photo()[0], "spline").to_dict()


@pytest.mark.parametrize("value", [None, [], "spline", 3, {}, {"method": "spline"}, {1: 2}])
def test_what_is_no_flattening_at_all(value: Any) -> None:
    with pytest.raises(InputError, match=r"flattening: must be \{method: perspective"):
        Flattening.from_dict(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method", "none"),
        ("method", ["spline"]),
        ("method", "perspective"),  # which takes four points
        ("size", [0, 5]),
        ("size", [5.0, 5]),
        ("size", [True, 5]),
        ("size", [5, 40000]),
        ("size", [5, 5, 5]),
        ("size", 7),
        ("source", []),
        ("source", None),
        ("source", "text"),
        ("source", [[1, 2], [3]]),
        ("source", GOOD["source"][:-1]),
        ("source", GOOD["source"][::-1]),
        ("source", [[float("nan"), 1], *GOOD["source"][1:]]),
        ("source", [[10**400, 1], *GOOD["source"][1:]]),
        ("flat", [[float("inf"), 1], *GOOD["flat"][1:]]),
        ("flat", [[1e9, 1], *GOOD["flat"][1:]]),
        ("flat", [[1, 1]] * len(GOOD["flat"])),
        ("flat", [*GOOD["flat"][:4], *[[5, 5]] * (len(GOOD["flat"]) - 4)]),
        ("extra", 1),
    ],
)
def test_what_to_dict_did_not_give(key: str, value: Any) -> None:
    values = copy.deepcopy(GOOD)
    values[key] = value
    with pytest.raises(InputError, match="flattening: must be"):
        Flattening.from_dict(values)
