from __future__ import annotations

import numpy as np
import pytest

from detector.core.draw import IGNORED, PREDICTED, TRUE, draw

SQUARE = np.array([[20, 20], [80, 20], [80, 60], [20, 60]], np.float32)


def page(width: int = 120, height: int = 100, value: int = 255) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def luma(colour: tuple[int, int, int]) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


@pytest.mark.parametrize(
    ("kind", "colour"), [("predicted", PREDICTED), ("true", TRUE), ("ignored", IGNORED)]
)
def test_each_kind_has_its_colour(kind: str, colour: tuple[int, int, int]) -> None:
    out = draw(page(), **{kind: [SQUARE]})
    assert out.dtype == np.uint8
    for x, y in ((50, 20), (80, 40), (50, 60), (20, 40)):
        # An antialiased line of one pixel lets a little paper through.
        assert np.abs(out[y, x].astype(int) - colour).max() <= 25
    assert (out[40, 50] == 255).all()
    assert (out[90, 110] == 255).all()


def test_colours_differ_in_blue_and_in_lightness() -> None:
    # Red-green blindness keeps blue against yellow; a grey print keeps lightness.
    assert TRUE[2] - PREDICTED[2] > 150
    assert PREDICTED[0] - TRUE[0] > 150
    assert abs(luma(TRUE) - luma(PREDICTED)) > 20


def test_both_show_where_they_coincide() -> None:
    out = draw(page(), predicted=[SQUARE], true=[SQUARE]).reshape(-1, 3)
    assert (np.abs(out.astype(int) - PREDICTED).max(axis=1) <= 40).sum() > 100
    blueish = (out[:, 2].astype(int) - out[:, 0]) > 60
    assert blueish.sum() > 100


def test_the_argument_is_not_changed() -> None:
    image = page()
    polygon = SQUARE.copy()
    draw(image, predicted=[polygon], scores=[0.9])
    assert (image == 255).all()
    np.testing.assert_array_equal(polygon, SQUARE)


def test_lines_widen_with_the_page() -> None:
    def width_of_line(scale: int) -> int:
        out = draw(page(120 * scale, 100 * scale), predicted=[SQUARE * scale])
        column = out[10 * scale : 30 * scale, 50 * scale]
        return int((column != 255).any(axis=1).sum())

    assert width_of_line(1) <= 3
    assert width_of_line(20) > 2 * width_of_line(5) > 0


def test_sub_pixel_positions_show() -> None:
    moved = SQUARE + np.array([0, 0.5], np.float32)
    column = draw(page(), predicted=[moved])[18:24, 50, 2].astype(int)
    # The line between rows 20 and 21 darkens both alike.
    assert column[2] < 255
    assert abs(column[2] - column[3]) <= 30


def test_scores_are_written_for_predictions() -> None:
    without, with_score = (
        draw(page(), predicted=[SQUARE]),
        draw(page(), predicted=[SQUARE], scores=[0.87]),
    )
    changed = (without != with_score).any(axis=2)
    assert changed.any()
    assert not changed[21:60, 21:80].any()


def test_no_score_for_what_is_outside_the_picture() -> None:
    for shift in (-200, 200):
        out = draw(page(), predicted=[SQUARE + np.float32(shift)], scores=[0.5])
        np.testing.assert_array_equal(out, page())


def test_scores_must_match() -> None:
    with pytest.raises(ValueError, match="one per predicted polygon, got 2 for 1"):
        draw(page(), predicted=[SQUARE], scores=[0.1, 0.2])


def test_nothing_to_draw() -> None:
    np.testing.assert_array_equal(draw(page()), page())
    np.testing.assert_array_equal(draw(page(), predicted=[], scores=np.zeros(0)), page())
    np.testing.assert_array_equal(draw(page(), predicted=[np.zeros((0, 2))], scores=[1.0]), page())


def test_odd_polygons() -> None:
    dot, huge = np.array([[50, 50]]), np.array([[-1e9, 50], [1e9, 50], [1e9, 1e9]])
    assert (draw(page(), predicted=[dot])[50, 50] != 255).any()
    assert (draw(page(), true=[huge])[50] != 255).any()
    assert draw(page(1, 1), predicted=[SQUARE]).shape == (1, 1, 3)
    with pytest.raises(ValueError, match="not finite"):
        draw(page(), true=[np.array([[0, 0], [np.nan, 1], [3, 3]])])


def test_views_are_drawn_on_copies() -> None:
    image = page()[:, ::-1].transpose(1, 0, 2)
    assert draw(image, true=[SQUARE]).shape == image.shape
