from __future__ import annotations

import math

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from detector.data.labels.words import check_words

BOX = [[10, 20], [50, 20], [50, 40], [10, 40]]


def check(points: object, **fields: object):
    """The word (or None) and the kinds of faults of one word on a page of 100 x 80."""
    words, faults = check_words("a.jpg", {"0001": {"points": points, **fields}}, 100, 80)
    assert all(f.file == "a.jpg" and f.word == "0001" for f in faults)
    return (words[0] if words else None), [f.kind for f in faults]


def test_a_good_word_is_taken_as_it_is() -> None:
    word, faults = check(
        BOX, transcription="TOTAL", language=["en", "ko"], orientation="Horizontal"
    )
    assert faults == []
    assert word.id == "0001"
    assert word.points.dtype == np.float32
    np.testing.assert_array_equal(word.points, BOX)
    assert (word.text, word.ignore) == ("TOTAL", False)
    assert (word.languages, word.orientation) == (("en", "ko"), "Horizontal")


def test_an_outline_is_turned_to_run_clockwise_from_its_first_point() -> None:
    word, faults = check([BOX[0], *BOX[:0:-1]])
    assert faults == []
    np.testing.assert_array_equal(word.points, BOX)


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ([], "no-place"),
        ([[10, 20]], "no-place"),
        ([[10, 20], [50, 20]], "no-place"),  # a line, no box
        ([[0, 0], [10, 10], [20, 20]], "no-place"),
        (None, "no-place"),
        ("10,20", "no-place"),
        ([10, 20, 50, 20, 50, 40, 10, 40], "no-place"),
        ([[math.nan, 20]] * 4, "no-place"),
        ([[200, 20], [240, 20], [240, 40]], "outside-page"),
        ([[5, 5]] * 4, "zero-area"),
        ([[0, 0], [10, 10], [20, 20], [30, 30]], "zero-area"),
        ([[200, 20], [240, 20], [240, 40], [200, 40]], "outside-page"),
        ([[-40, 20], [0, 20], [0, 40], [-40, 40]], "outside-page"),
        # Its bounding box meets the corner of the page, the outline does not.
        ([[-30, 10], [10, -30], [5, -35], [-35, 5]], "outside-page"),
    ],
)
def test_unusable_words_are_excluded(points: object, kind: str) -> None:
    assert check(points) == (None, [kind])


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (BOX[:3], "few-points"),
        ([BOX[2], BOX[0]], "few-points"),  # two corners
        ([[10, "20"], *BOX[1:]], "bad-points"),
        ([[True, 20], *BOX[1:]], "bad-points"),
        ([[1, 2, 3], *BOX[1:]], "bad-points"),
        ([[None, 2], *BOX[1:]], "bad-points"),
        ([7, *BOX], "bad-points"),
        ([[math.nan, 20], *BOX[1:]], "non-finite"),
        ([[math.inf, 20], *BOX[1:]], "non-finite"),
        ([[10**400, 20], *BOX[1:]], "non-finite"),
        ([[1e30, 20], *BOX[1:]], "huge-coordinate"),
        (BOX * 251, "many-points"),
    ],
)
def test_what_says_where_text_is_becomes_dont_care(points: object, kind: str) -> None:
    """Excluded, the text would be learnt as background. A lost corner of a box is found again."""
    word, faults = check(points, transcription="x")
    assert faults == [kind]
    assert word.ignore
    assert Polygon(word.points).equals(Polygon(BOX))


def test_a_word_that_is_no_object_is_excluded() -> None:
    words, faults = check_words("a.jpg", {"7": BOX}, 100, 80)
    assert words == ()
    assert faults[0].message == "a word must be an object with points, got list; word excluded"


def test_one_pixel_word_is_kept() -> None:
    word, faults = check([[3, 3], [4, 3], [4, 4], [3, 4]])
    assert faults == []
    assert Polygon(word.points).area == 1.0


def test_partly_outside_is_kept_unclipped() -> None:
    points = [[90, 20], [120, 20], [120, 40], [90, 40]]
    word, faults = check(points)
    assert faults == ["partly-outside"]
    np.testing.assert_array_equal(word.points, points)


def test_words_up_to_the_edge_are_inside() -> None:
    assert check([[0, 0], [100, 0], [100, 80], [0, 80]])[1] == []
    assert check([[-0.5, -0.5], [99.5, 0], [99.5, 79.5], [0, 79.5]])[1] == []


def test_crossed_corners_are_put_in_order() -> None:
    word, faults = check([BOX[0], BOX[2], BOX[1], BOX[3]])
    assert faults == ["self-crossing"]
    np.testing.assert_array_equal(word.points, BOX)
    assert not word.ignore


def test_a_tangle_becomes_dont_care_over_its_hull() -> None:
    # A pentagram: its hull is the pentagon of its points.
    angles = [2 * math.pi * i * 2 / 5 for i in range(5)]
    star = [[50 + 20 * math.sin(a), 40 - 20 * math.cos(a)] for a in angles]
    word, faults = check(star)
    assert faults == ["tangled"]
    assert word.ignore
    pentagon = 2.5 * 20**2 * math.sin(2 * math.pi / 5)
    assert Polygon(word.points).area == pytest.approx(pentagon, rel=1e-5)


def test_a_spike_becomes_dont_care() -> None:
    word, faults = check([[0, 0], [10, 0], [5, 0], [5, 5]])
    assert faults == ["tangled"]
    assert word.ignore
    assert len(word.points) == 4


def test_an_outline_there_and_back_becomes_dont_care() -> None:
    """It encloses nothing, but its three points say where text is."""
    word, faults = check([BOX[0], BOX[1], BOX[2], BOX[1]])
    assert faults == ["tangled"]
    assert word.ignore
    assert Polygon(word.points).area == pytest.approx(40 * 20)


def test_a_place_has_a_thousand_corners_at_most() -> None:
    angles = np.linspace(0, 2 * math.pi, 1500, endpoint=False)
    word, faults = check(np.stack([50 + 30 * np.cos(angles), 40 + 30 * np.sin(angles)], 1).tolist())
    assert faults == ["many-points"]
    assert word.ignore
    assert Polygon(word.points).area == pytest.approx(math.pi * 30**2, rel=1e-3)
    assert len(word.points) == 750


def test_repeated_closing_point_is_dropped() -> None:
    word, faults = check([*BOX, BOX[0]])
    assert faults == ["closed-outline"]
    np.testing.assert_array_equal(word.points, BOX)


def test_polygons_of_any_length() -> None:
    angles = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    points = [[50 + 30 * math.cos(a), 40 + 20 * math.sin(a)] for a in angles]
    word, faults = check(points)
    assert faults == []
    assert word.points.shape == (14, 2)


def test_second_word_with_the_same_corners_is_excluded() -> None:
    words = {"1": {"points": BOX}, "2": {"points": BOX[2:] + BOX[:2]}, "3": {"points": BOX[::-1]}}
    kept, faults = check_words("a.jpg", words, 100, 80)
    assert [w.id for w in kept] == ["1"]
    assert [(f.word, f.kind) for f in faults] == [("2", "duplicate-word"), ("3", "duplicate-word")]
    assert "the same corners as word 1" in faults[0].message


def test_of_two_words_with_the_same_corners_the_one_that_counts_is_kept() -> None:
    words = {"1": {"points": BOX[:3]}, "2": {"points": BOX}}
    kept, faults = check_words("a.jpg", words, 100, 80)
    assert [(w.id, w.ignore) for w in kept] == [("2", False)]
    assert [(f.word, f.kind) for f in faults] == [("1", "duplicate-word")]


@pytest.mark.parametrize(
    ("fields", "ignore", "text", "faults"),
    [
        ({"transcription": "###"}, True, "###", []),
        ({"transcription": "x", "ignore": True}, True, "x", []),
        ({"transcription": "x", "ignore": False}, False, "x", []),
        ({"transcription": "x", "ignore": None}, False, "x", []),
        ({"transcription": "x", "ignore": "false"}, True, "x", ["bad-ignore"]),
        ({"transcription": ""}, False, None, []),
        ({"transcription": None}, False, None, []),
        ({}, False, None, []),
        ({"transcription": 12}, False, None, ["bad-text"]),
    ],
)
def test_text_and_dont_care(fields: dict, ignore: bool, text: str | None, faults: list) -> None:
    word, found = check(BOX, **fields)
    assert (word.ignore, word.text, found) == (ignore, text, faults)


coordinates = st.one_of(
    st.integers(-2, 4), st.floats(-150, 250), st.floats(), st.integers(-(10**400), 10**400)
)


@examples(200)
@given(st.lists(st.lists(coordinates, min_size=2, max_size=2), max_size=8))
def test_whatever_is_kept_is_a_valid_outline_on_the_page(points: list) -> None:
    word, faults = check(points)
    if word is None:
        assert len(faults) == 1
    else:
        outline = Polygon(word.points)
        assert len(word.points) >= 4
        assert np.isfinite(word.points).all()
        assert outline.is_valid
        assert outline.area > 0
        assert outline.intersects(Polygon([(0, 0), (100, 0), (100, 80), (0, 80)]))
