from __future__ import annotations

import math
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.data.formats.text import icdar2015
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

QUAD = "10,20,50,20,50,40,10,40"
CORNERS = [[10, 20], [50, 20], [50, 40], [10, 40]]


def page(root: Path, content: str | bytes, name: str = "gt_a.txt") -> Labelled:
    (found,) = pages_of(icdar2015, label_file(root, name, content))
    return found


def test_all_after_the_last_coordinate_is_the_text(tmp_path: Path) -> None:
    lines = f'\ufeff{QUAD},Soup, "hot"\r\n\r\n{QUAD},###\r\n{QUAD},#1\r\n{QUAD},\r\n{QUAD}\r\n'
    found = page(tmp_path, lines + f'{QUAD},"\r\n{QUAD}, 7" x 5"')
    assert told(found) == [
        ('Soup, "hot"', False),
        ("###", True),
        ("#1", False),
        ("", False),
        (None, False),
        ('"', False),
        (' 7" x 5"', False),
    ]
    assert points_of(found) == [CORNERS] * 7


def test_numbers_may_be_signed_decimal_spaced_and_have_exponents(tmp_path: Path) -> None:
    found = page(tmp_path, "-4.5, 2e1, +50, 20., 50,4.0E+1, .5,40, Tea\n")
    assert points_of(found) == [[[-4.5, 20], [50, 20], [50, 40], [0.5, 40]]]
    assert told(found) == [(" Tea", False)]  # not after every comma a blank


def test_the_blank_after_every_comma_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert told(page(tmp_path, QUAD.replace(",", ", ") + ", Tea, ice\n")) == [("Tea, ice", False)]


@pytest.mark.parametrize(
    ("name", "image", "others"),
    [
        ("gt/gt_img_1.txt", "gt_img_1", ("img_1",)),
        ("res_img.1.TXT", "res_img.1", ("img.1",)),
        ("box/000.csv", "000", ()),
        ("poly_gt_img11.txt", "poly_gt_img11", ("img11",)),
        ("gt_.txt", "gt_", ()),
    ],
)
def test_the_image_has_the_name_of_the_file(
    tmp_path: Path, name: str, image: str, others: tuple[str, ...]
) -> None:
    found = page(tmp_path, f"{QUAD},a\n", name)
    assert (found.image, found.others) == (image, others)


def test_files_in_latin_1_and_in_cp949(tmp_path: Path) -> None:
    assert told(page(tmp_path, f"{QUAD},ÄRGER £5".encode("latin-1"))) == [("ÄRGER £5", False)]
    assert told(page(tmp_path, f"{QUAD},합계 뷁".encode("cp949"))) == [("합계 뷁", False)]


def test_a_mark_of_byte_order_at_any_line_is_left_out(tmp_path: Path) -> None:
    assert told(page(tmp_path, f"\ufeff{QUAD},a\n\ufeff{QUAD},b\n")) == [("a", False), ("b", False)]


@pytest.mark.parametrize("text", ["9.00", "1,234", "1,234.00", "2018", "12,5,7", "12,000"])
def test_numbers_are_texts_among_others_and_alone(tmp_path: Path, text: str) -> None:
    assert told(page(tmp_path, f"{QUAD},{text}\n1,1,9,1,9,9,1,9,TOTAL\n"))[0] == (text, False)
    assert told(page(tmp_path, f"{QUAD},{text}\n")) == [(text, False)]


def test_a_file_of_nothing_but_amounts_has_them_as_texts(tmp_path: Path) -> None:
    boxes = {"15,000": QUAD, "3,900": "60,20,90,20,90,40,60,40", "1,100": "10,50,50,50,50,70,10,70"}
    found = page(tmp_path, "".join(f"{box},{text}\n" for text, box in boxes.items()))
    assert told(found) == [(text, False) for text in boxes]
    assert [len(points) for points in points_of(found)] == [4, 4, 4]


@pytest.mark.parametrize("text", ["12,000", "7,050.00", "1,000,250"])
def test_zeros_at_the_front_are_of_amounts_even_in_the_only_line(tmp_path: Path, text: str) -> None:
    assert told(page(tmp_path, f"10,20,90,20,90,40,10,40,{text}\n")) == [(text, False)]


def test_a_mark_behind_a_field_that_is_not_known_is_dont_care(tmp_path: Path) -> None:
    found = page(tmp_path, f"{QUAD},Greek,Tea\n{QUAD},Greek,###\n{QUAD},0.5,###\n{QUAD},a###\n")
    assert [word["ignore"] for word in found.words.values()] == [False, True, True, False]


def test_longer_outlines_among_quadrilaterals_keep_their_corners(tmp_path: Path) -> None:
    curve = "20,60,60,55,100,60,100,80,60,75,20,80"
    found = page(tmp_path, f"{QUAD},a\n{curve},B,7\n{curve},###\n")
    points = [[20, 60], [60, 55], [100, 60], [100, 80], [60, 75], [20, 80]]
    assert points_of(found) == [CORNERS, points, points]
    assert told(found) == [("a", False), ("B,7", False), ("###", True)]


def test_a_ring_that_is_closed_is_an_outline(tmp_path: Path) -> None:
    found = page(tmp_path, f"{QUAD},10,20,Tea\n")
    assert points_of(found) == [[*CORNERS, [10, 20]]]
    assert told(found) == [("Tea", False)]


@pytest.mark.parametrize("start", range(6))
def test_an_outline_may_begin_at_any_corner(tmp_path: Path, start: int) -> None:
    corners = [[20, 60], [60, 50], [100, 60], [100, 80], [60, 70], [20, 80]]
    corners = corners[start:] + corners[:start]
    line = ",".join(str(v) for corner in corners for v in corner)
    found = page(tmp_path, f"{QUAD},a\n{line},B\n{line}\n")
    assert points_of(found)[1:] == [corners] * 2


def test_a_file_of_ten_numbers_a_line_is_what_most_of_its_lines_are(tmp_path: Path) -> None:
    curves = "10,20,30,15,50,20,50,40,30,35,10,40,A\n1,1,5,0,9,1,9,9,1,9,7\n"
    odd = "10,20,50,20,50,40,10,40,900,700\n"  # four corners, and numbers far from them
    assert [len(points) for points in points_of(page(tmp_path, curves + odd))] == [6, 5, 5]
    near = "10,20,50,20,50,40,10,40,9,30\n"  # as a fifth corner would be
    assert [len(points) for points in points_of(page(tmp_path, odd + odd + near))] == [4, 4, 4]


@given(
    st.floats(0, 6.28), st.floats(30, 200), st.floats(1, 1.6), st.integers(1, 99), st.integers(0, 9)
)
def test_a_price_is_no_corner_of_a_turned_word(
    tmp_path_factory: pytest.TempPathFactory,
    angle: float,
    width: float,
    taper: float,
    thousands: int,
    hundreds: int,
) -> None:
    inset = width * (1 - 1 / taper) / 2
    corners = [(0, 0), (width, 0), (width - inset, 10), (inset, 10)]
    cos, sin = math.cos(angle), math.sin(angle)
    turned = [(2000 + x * cos - y * sin, 2000 + x * sin + y * cos) for x, y in corners]
    line = ",".join(f"{v:.3f}" for point in turned for v in point)
    text = f"{thousands},{hundreds}00"
    found = page(tmp_path_factory.getbasetemp(), f"{line},{text}\n")
    assert told(found) == [(text, False)]


def test_quotes_around_all_texts_are_not_of_them(tmp_path: Path) -> None:
    quoted = f'{QUAD},"a, b"\n{QUAD},"say "hi""\n'
    assert told(page(tmp_path, quoted + f"{QUAD},###\n")) == [
        ("a, b", False),
        ('say "hi"', False),
        ("###", True),
    ]
    assert told(page(tmp_path, quoted + f"{QUAD},c\n"))[0] == ('"a, b"', False)
    assert told(page(tmp_path, f'{QUAD},"###"\n')) == [('"###"', True)]


def test_a_line_that_is_no_word_is_told_with_the_words(tmp_path: Path) -> None:
    found = page(tmp_path, f"{QUAD},a\n1,2,3,4,b\n{QUAD},c\nd\n1e999,{QUAD[3:]},e\n{QUAD},f\n")
    assert [len(points) for points in points_of(found)] == [4, 2, 4, 0, 4, 4]
    assert points_of(found)[4][0][0] == math.inf


def test_an_empty_file_is_a_page_without_words(tmp_path: Path) -> None:
    for content in ("", "\ufeff\r\n \r\n"):
        assert page(tmp_path, content).words == {}


@pytest.mark.parametrize(
    "content", ["20,20,120,40,a\n", "0 .1 .1 .2 .2\n", "a\n", "1;2;3;4;5;6;7;8;a\n", "{}"]
)
def test_other_lines_are_not_claimed(tmp_path: Path, content: str) -> None:
    assert "icdar2015" not in claimants(label_file(tmp_path, "a.txt", content))


@examples(100)
@given(
    st.lists(
        st.sampled_from([QUAD, "1,2,3", "1e99", ",", '"', "x", "\r", "\n", ",###", " "])
        | st.text(max_size=4)
    ).map("".join)
)
def test_any_text_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    data = content.encode("utf-8", "replace")
    survives(icdar2015, label_file(tmp_path_factory.getbasetemp(), "a.txt", data))


def test_an_amount_that_names_a_point_nearby_stays_a_text(tmp_path: Path) -> None:
    found = page(tmp_path, "3,216,100,216,100,227,3,227,1,234\n9,9,50,9,50,20,9,20,won\n")
    assert [len(points) for points in points_of(found)] == [4, 4]
    assert [word["transcription"] for word in found.words.values()] == ["1,234", "won"]
