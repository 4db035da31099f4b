from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detector.core.geometry import canonical_order
from detector.data.raw.masks import mask_outline


def runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs down the columns, the first of zeros."""
    lengths, last = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != last:
            lengths.append(0)
            last = pixel
        lengths[-1] += 1
    return lengths


def packed(lengths: list[int]) -> str:
    """The lengths as COCO's text, written from its description."""
    text = ""
    for i, length in enumerate(lengths):
        number = length - lengths[i - 2] if i > 2 else length
        while True:
            number, digit = number >> 5, number & 31
            done = number == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if done else 32))
            if done:
                break
    return text


def same_box(found: Any, box: tuple[float, float, float, float]) -> bool:
    x0, y0, x1, y1 = box
    return canonical_order(found).tolist() == [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


@pytest.mark.parametrize("counts", [[47, 4, 5, 4, 5, 4, 21], "_145000`0", [47, 4, 5, 4, 5, 4]])
def test_a_rectangle_has_the_edges_of_its_pixels(counts: Any) -> None:
    # columns of nine: 47 is column 5, row 2; four rows in each of three columns
    assert same_box(mask_outline({"size": [9, 10], "counts": counts}), (5, 2, 8, 6))


@pytest.mark.parametrize(
    ("counts", "box"),
    [
        ([0, 20], (0, 0, 5, 4)),  # all of it in one run
        ([0, 1, 19], (0, 0, 1, 1)),  # one pixel
        ([4, 12, 4], (1, 0, 4, 4)),  # whole columns
        ([5, 1, 3, 1, 3, 1, 6], (1, 1, 4, 2)),  # one row
    ],
)
def test_runs_over_columns(counts: list[int], box: tuple[float, float, float, float]) -> None:
    assert same_box(mask_outline({"size": [4, 5], "counts": counts}), box)


def test_parts_have_their_hull() -> None:
    # COCO's own example of a text: the pixel (0, 6), and x 5 to 8, y 2 to 6
    found = mask_outline({"size": [9, 10], "counts": "61X13mN000`0"})
    corners = {(0, 6), (0, 7), (1, 7), (5, 2), (8, 2), (8, 6)}
    assert {tuple(point) for point in found} == corners


def test_a_hole_is_no_part_of_the_outline() -> None:
    mask = np.ones((5, 5), dtype=int)
    mask[2, 2] = 0
    assert same_box(mask_outline({"size": [5, 5], "counts": runs(mask)}), (0, 0, 5, 5))


def test_an_empty_mask_has_no_points() -> None:
    assert mask_outline({"size": ["4", 5], "counts": [20]}) == []


@pytest.mark.parametrize(
    "mask",
    [
        {},
        {"size": [4, 5]},
        {"size": [4], "counts": [1, 1]},
        {"size": [4, 5], "counts": [1, 20]},
        {"size": [4, 5], "counts": [3, -1]},
        {"size": [4, 5], "counts": [3, 1.5]},
        {"size": [4, 5], "counts": ["x"]},
        {"size": [4, 5], "counts": "X"},
        {"size": [4, 5], "counts": "3é"},
        {"size": [4, 5], "counts": "o" * 100},
        {"size": [0, 0], "counts": [0, 1]},
        {"size": 3, "counts": {}},
    ],
)
def test_what_is_no_mask_is_given_back(mask: dict[str, Any]) -> None:
    assert mask_outline(mask) is mask


def test_a_mask_of_any_size_takes_the_memory_of_its_runs() -> None:
    side = 10**7
    found = mask_outline({"size": [side, side], "counts": [3, side * side - 3]})
    assert len(found) >= 4


@given(arrays.arrays(np.int8, st.tuples(*[st.integers(1, 12)] * 2), elements=st.integers(0, 1)))
@examples(200)
def test_an_outline_is_near_all_pixels(mask: np.ndarray) -> None:
    size, lengths = list(mask.shape), runs(mask)
    found = mask_outline({"size": size, "counts": lengths})
    assert mask_outline({"size": size, "counts": packed(lengths)}) == found
    rows, columns = np.nonzero(mask)
    if not len(rows):
        assert found == []
        return
    outline = shapely.Polygon(found)
    pixels = shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1))
    assert outline.is_valid
    assert outline.buffer(1.5).covers(pixels)
    assert pixels.convex_hull.buffer(1e-9).covers(outline)
