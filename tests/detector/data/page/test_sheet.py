from __future__ import annotations

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from detector.core.geometry import transform_points
from detector.data.page.sheet import find_quadrilateral, is_convex, outline_bends, side_lengths

SIZE = (400, 500)
UPRIGHT = np.array([(60, 80), (340, 80), (340, 420), (60, 420)], float)


def outline_of(corners: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Every outermost pixel of a filled polygon, as far as it is on the page."""
    page = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(page, [np.round(corners * 16).astype(np.int32)], 1, shift=4)
    (found,), _ = cv2.findContours(page, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return found[:, 0]


def test_an_upright_sheet_to_the_pixel() -> None:
    np.testing.assert_allclose(find_quadrilateral(outline_of(UPRIGHT), SIZE), UPRIGHT, atol=0.5)


@examples(60)
@given(seed=st.integers(0, 2**31), degrees=st.floats(-40, 40))
def test_any_usual_view(seed: int, degrees: float) -> None:
    rng = np.random.default_rng(seed)
    turn = cv2.getRotationMatrix2D((200, 250), degrees, 0.7)
    corners = transform_points(UPRIGHT + rng.uniform(-15, 15, (4, 2)), turn).astype(float)
    found = find_quadrilateral(outline_of(corners), SIZE)
    assert found is not None
    np.testing.assert_allclose(found, corners, atol=1.5)


def test_a_torn_corner_is_put_back() -> None:
    torn = np.array([(60, 80), (315, 80), (340, 110), (340, 420), (60, 420)], float)
    np.testing.assert_allclose(find_quadrilateral(outline_of(torn), SIZE), UPRIGHT, atol=1)


def test_a_corner_off_the_page_is_continued_from_its_sides() -> None:
    corners = np.array([(-20, 60), (340, 100), (320, 420), (-10, 440)], float)
    corners[[0, 3]] += (30, 0)
    corners[0] = (-8, 70)
    found = find_quadrilateral(outline_of(corners), SIZE)
    assert found is not None
    np.testing.assert_allclose(found, corners, atol=1.5)


def bump(height: float) -> np.ndarray:
    x = np.linspace(60, 340, 141)
    upper = np.column_stack([x, 80 - height * np.sin(np.pi * (x - 60) / 280)])
    return np.concatenate([upper, UPRIGHT[2:]])


@pytest.mark.parametrize(
    "corners",
    [
        UPRIGHT + np.array([200, 0]),  # the right side is beyond the page
        UPRIGHT * 0.3 + 100,  # 3 % of the page
        np.array([(190, 10), (215, 10), (215, 490), (190, 490)], float),  # 1 : 19
        np.array([(150, 60), (250, 60), (370, 440), (30, 440)], float),  # sides of 1 : 3.4
        np.array([(60, 80), (250, 80), (390, 420), (200, 420)], float),  # corners of 68 and 112
        np.array([(200, 50), (350, 450), (50, 450)], float),
        200 + 150 * np.column_stack([f(np.arange(0, 6.28, 0.05)) for f in (np.cos, np.sin)]),
        bump(75),
        np.array([(50, 50), (350, 50), (350, 250), (200, 250), (200, 450), (50, 450)], float),
    ],
    ids=["cut", "small", "strip", "trapezoid", "slanted", "triangle", "disc", "bump", "L"],
)
def test_what_is_no_usual_view_of_a_rectangle(corners: np.ndarray, request) -> None:
    found = find_quadrilateral(outline_of(corners), SIZE)
    if request.node.callspec.id == "slanted":  # a shear within what cameras do
        assert found is not None
    else:
        assert found is None


@pytest.mark.parametrize("count", [1, 2, 5])
def test_hardly_any_outline(count: int) -> None:
    assert find_quadrilateral(np.arange(2 * count).reshape(count, 2) + 50, SIZE) is None


def test_lengths_and_convexity_by_hand() -> None:
    np.testing.assert_allclose(
        side_lengths(np.array([(0, 0), (3, 4), (3, 9), (0, 9)])), [5, 5, 3, 9]
    )
    assert is_convex(UPRIGHT)
    assert not is_convex(UPRIGHT[::-1])
    assert not is_convex(UPRIGHT[[0, 2, 1, 3]])
    assert not is_convex(np.zeros((4, 2)))


def test_bends_of_a_curved_side_by_hand() -> None:
    # The upper side bulges by 8 sin(pi x / 120); the others are straight.
    t = np.linspace(0.001, 0.999, 600)
    outline = np.concatenate(
        [
            np.column_stack([120 * t, -8 * np.sin(np.pi * t)]),
            np.column_stack([0 * t + 120, 200 * t]),
            np.column_stack([120 * t, 0 * t + 200]),
            np.column_stack([0 * t, 200 * t]),
        ]
    )
    places, moves = outline_bends(outline, np.array([120.0, 200.0]))
    assert places.shape == moves.shape == (48, 2)
    upper = places[:, 1] == 0
    np.testing.assert_allclose(places[upper, 0], 5 + 10 * np.arange(12))
    expected = -8 * np.sin(np.pi * places[upper, 0] / 120)
    # Near the corners the bulge is nearer to the neighbouring side in part.
    np.testing.assert_allclose(moves[upper, 1][1:-1], expected[1:-1], atol=0.1)
    np.testing.assert_allclose(moves[places[:, 1] == 200][:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(moves[upper, 0], 0, atol=0.1)


def test_a_sheet_moved_as_a_whole_moves_all_places_so() -> None:
    t = np.linspace(0.001, 0.999, 600)
    x, y = 120 * t, 200 * t
    sides = [(x, 0 * t), (0 * t + 120, y), (x, 0 * t + 200), (0 * t, y)]
    outline = np.concatenate([np.column_stack(s) for s in sides]) + np.array([2, -3])
    _, moves = outline_bends(outline, np.array([120.0, 200.0]))
    np.testing.assert_allclose(moves, np.broadcast_to((2, -3), moves.shape), atol=1e-9)


def test_without_a_side_there_are_no_bends() -> None:
    places, moves = outline_bends(np.zeros((0, 2)), np.array([120.0, 200.0]))
    assert places.shape == moves.shape == (0, 2)
