from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.geometry import transform_points
from detector.data.page.spline import MAX_SLOPE, Bend, fit_bend, resample

BOX = np.array([(0.0, 0.0), (100.0, 200.0)])
FILL = (10, 200, 30)


def random_bend(seed: int, strength: float = 10.0) -> Bend:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(*BOX, (12, 2))
    bend = fit_bend(centres, rng.uniform(-strength, strength, (12, 2)), BOX)
    return bend.scaled(min(1.0, MAX_SLOPE / bend.slope()))


def test_moves_are_met_at_the_centres() -> None:
    rng = np.random.default_rng(0)
    centres, moves = rng.uniform(*BOX, (20, 2)), rng.uniform(-5, 5, (20, 2))
    np.testing.assert_allclose(fit_bend(centres, moves, BOX)(centres), centres + moves, atol=1e-2)


def test_an_affine_displacement_is_one_everywhere_in_the_box() -> None:
    rng = np.random.default_rng(0)
    centres, points = rng.uniform(*BOX, (9, 2)), rng.uniform(*BOX, (50, 2))
    matrix, shift = np.array([(0.1, -0.2), (0.05, 0.02)]), (3, -4)
    bend = fit_bend(centres, centres @ matrix + shift, BOX)
    np.testing.assert_allclose(bend(points), points + points @ matrix + shift, atol=1e-6)
    # Frobenius norm of the matrix by hand: sqrt(0.01 + 0.04 + 0.0025 + 0.0004).
    assert bend.slope() == pytest.approx(math.sqrt(0.0529), rel=1e-6)
    assert bend.scaled(0.5).slope() == pytest.approx(math.sqrt(0.0529) / 2, rel=1e-6)


def test_bookstein_square_by_hand() -> None:
    # Corners of a square moved up and down in turn: by symmetry no affine part, equal weights
    # w, -w, w, -w. With side s, sum U = w (2 s^2 log s^2 - 2 s^2 log 2 s^2) at a corner up to the
    # sign, = -2 s^2 w log 2, must be 1, and the centre stays.
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    bend = fit_bend(corners, [(0, 1), (0, -1), (0, 1), (0, -1)], corners[[0, 2]])
    weight = 1 / (-2 * math.log(2) * -1)
    np.testing.assert_allclose(np.abs(bend.weights[:4, 1]), weight, rtol=1e-4)
    np.testing.assert_allclose(bend.weights[:, 0], 0, atol=1e-9)
    np.testing.assert_allclose(bend([(0.5, 0.5)]), [(0.5, 0.5)], atol=1e-9)


def test_the_kernel_is_biharmonic_between_the_centres() -> None:
    bend, step = random_bend(1), 0.5

    def laplacian(f, x: float, y: float) -> float:
        around = [(x + step, y), (x - step, y), (x, y + step), (x, y - step)]
        return (sum(f(*p) for p in around) - 4 * f(x, y)) / step**2

    centres = bend.centres * bend.unit + bend.origin
    grid = np.stack(np.meshgrid(np.arange(5, 95, 6.0), np.arange(5, 195, 6.0)), -1).reshape(-1, 2)
    far = grid[np.linalg.norm(grid[:, None] - centres, axis=2).min(axis=1) > 12]
    assert len(far) > 20

    def across(x: float, y: float) -> float:
        return float(bend([(x, y)])[0, 0])

    for x, y in far[:20]:
        assert abs(laplacian(lambda a, b: laplacian(across, a, b), x, y)) < 1e-4


@examples(40)
@given(seed=st.integers(0, 2**31), reach=st.sampled_from([1.0, 3.0, 1000.0]))
def test_the_inverse_undoes_a_bend_in_and_beyond_the_box(seed: int, reach: float) -> None:
    bend = random_bend(seed)
    assert bend.slope() <= MAX_SLOPE + 1e-9
    points = np.random.default_rng(seed).uniform(-reach * 100, reach * 200, (30, 2))
    np.testing.assert_allclose(bend.inverse(bend(points)), points, atol=0.02)
    np.testing.assert_allclose(bend(bend.inverse(points)), points, atol=0.02)


@examples(30)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_a_point_is_mapped_as_if_it_were_alone(seed: int, count: int) -> None:
    bend = random_bend(seed)
    points = np.random.default_rng(seed).uniform(-50, 250, (count, 2))
    for move in (bend, bend.inverse):
        alone = np.concatenate([move(points[i : i + 1]) for i in range(count)])
        assert move(points).tobytes() == alone.tobytes()


def test_beyond_the_box_the_nearest_displacement_holds() -> None:
    bend = random_bend(2)
    edge = bend([(100, 60)]) - (100, 60)
    np.testing.assert_allclose(bend([(1e6, 60)]) - (1e6, 60), edge, atol=1e-6)
    assert np.isfinite(bend([(1e30, -1e30)])).all()


def test_no_points() -> None:
    bend = random_bend(3)
    assert bend(np.zeros((0, 2))).shape == (0, 2)
    assert bend.inverse([]).shape == (0, 2)


def test_centres_that_say_too_little_or_the_same() -> None:
    with pytest.raises(ValueError, match="on one line"):
        fit_bend([(0, 0), (1, 1), (2, 2)], np.zeros((3, 2)), BOX)
    twice = [(0, 0), (50, 0), (0, 90), (0, 90)]
    moves = [(0, 0), (0, 0), (1, 1), (1, 1)]
    np.testing.assert_allclose(fit_bend(twice, moves, BOX)(twice), np.add(twice, moves), atol=0.01)


def smooth(width: int, height: int, sigma: float = 4) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), sigma)


def test_resampling_by_the_identity_is_exact_and_fills_outside() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resample(image, lambda p: p, (30, 20), FILL), image)
    moved = resample(image, lambda p: p - (5, 3), (40, 30), FILL)
    np.testing.assert_array_equal(moved[3:23, 5:35], image)
    moved[3:23, 5:35] = FILL
    assert (moved == FILL).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (513, 3), (600, 1030)])
def test_tiles_and_cells_leave_no_seams(size: tuple[int, int]) -> None:
    image = smooth(640, 1100)
    moved = resample(image, lambda p: p + np.array([2, 1]), size, FILL)
    np.testing.assert_array_equal(moved, image[1 : size[1] + 1, 2 : size[0] + 2])


def test_a_homography_agrees_with_opencv() -> None:
    image = smooth(300, 400)
    matrix = np.array([[1.1, 0.2, -50.0], [-0.2, 1.0, -30.0], [1e-4, 2e-4, 1.0]])
    expected = cv2.warpPerspective(image, matrix, (250, 300), borderValue=FILL).astype(int)
    inverse = np.linalg.inv(matrix)
    found = resample(image, lambda p: transform_points(p, inverse), (250, 300), FILL)
    assert np.quantile(np.abs(found - expected), 0.99) <= 3


@pytest.mark.parametrize("scale", [0.7, 0.5, 0.3, 0.1])
def test_shrinking_averages(scale: float) -> None:
    # Fine stripes, which sampling at single points would turn into coarse ones.
    image = np.zeros((600, 600, 3), np.uint8)
    image[:, ::2] = 200
    found = resample(image, lambda p: (p + 0.5) / scale - 0.5, (60, 60), FILL)
    if scale <= 0.5:
        assert np.abs(found.astype(int) - 100).max() <= 35
    area = smooth(600, 600, 2)
    size = round(600 * scale)
    expected = cv2.resize(area, (size, size), interpolation=cv2.INTER_AREA).astype(int)
    found = resample(area, lambda p: (p + 0.5) * (600 / size) - 0.5, (size, size), FILL)
    assert np.abs(found - expected)[2:-2, 2:-2].mean() < 2.5


def test_an_endless_shrinking_stays_within_bounds() -> None:
    found = resample(smooth(100, 100), lambda p: 1000 * p, (600, 600), FILL)
    assert found.shape == (600, 600, 3)


def test_infinite_places_are_outside() -> None:
    found = resample(smooth(50, 50), lambda p: np.full(p.shape, np.inf), (9, 9), FILL)
    assert (found == FILL).all()
