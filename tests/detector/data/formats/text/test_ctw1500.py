from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.text import ctw1500
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled

# Seven points along the top, seven back along the bottom.
OUTLINE = [[10 * i, 20] for i in range(1, 8)] + [[10 * i, 40] for i in range(7, 0, -1)]
FLAT = ",".join(f"{x},{y}" for x, y in OUTLINE)
OFFSETS = ",".join(f"{x - 10},{y - 20}" for x, y in OUTLINE)


def page(root: Path, content: str | bytes, name: str) -> Labelled:
    file = label_file(root, name, content)
    assert claimants(file) == {"ctw1500"}
    (found,) = pages_of(ctw1500, file)
    return found


def box(inner: str) -> str:
    return f'<box height="20" left="10" top="20" width="60">{inner}<pts x="1" y="2" /></box>'


def test_training_files_are_xml(tmp_path: Path) -> None:
    boxes = [
        box(f"<label>A &amp; B, 7</label><segs>{FLAT}</segs>"),
        box(f"<label>###</label><segs> {FLAT.replace(',', ', ')} </segs>"),
        box("<label>no outline</label>"),
        box("<segs>1,2,x</segs>"),
    ]
    text = f'<Annotations><image file="old\\0003.jpg">{"".join(boxes)}</image></Annotations>'
    found = page(tmp_path, "\ufeff" + text, "labels/0003.xml")
    corners = [[10, 20], [70, 20], [70, 40], [10, 40]]
    assert points_of(found) == [OUTLINE, OUTLINE, corners, "1,2,x"]
    assert told(found) == [("A & B, 7", False), ("###", True), ("no outline", False), (None, False)]
    assert (found.image, found.others) == ("old/0003.jpg", ("labels/0003",))


def test_test_files_have_hashes_before_the_text(tmp_path: Path) -> None:
    found = page(tmp_path, f"{FLAT},####Tea, ice\r\n{FLAT},#######\n{FLAT},####", "0001003.txt")
    assert points_of(found) == [OUTLINE] * 3
    assert told(found) == [("Tea, ice", False), ("###", True), ("", False)]
    assert (found.image, found.others) == ("0001003", ("1003",))


@pytest.mark.parametrize(
    ("name", "others"),
    [("0000012.txt", ("0012",)), ("gt_0001003.txt", ("0001003", "1003")), ("img.txt", ())],
)
def test_zeros_before_the_name_are_not_of_the_image(
    tmp_path: Path, name: str, others: tuple[str, ...]
) -> None:
    assert page(tmp_path, f"{FLAT},####a\n", name).others == others


def test_outlines_of_other_lengths_have_hashes_too(tmp_path: Path) -> None:
    found = page(tmp_path, "1,1,5,0,9,1,9,9,5,8,1,9,####a\n", "1.txt")
    assert points_of(found) == [[[1, 1], [5, 0], [9, 1], [9, 9], [5, 8], [1, 9]]]


def test_the_first_version_has_a_box_and_offsets(tmp_path: Path) -> None:
    line = f"10,20,70,40,{OFFSETS}"
    loose = f"10,20,50,40,{OFFSETS}"  # a box that is too small
    found = page(tmp_path, f"{line}\n{line},\n{loose}\n", "0001.txt")
    assert points_of(found) == [OUTLINE] * 3
    assert told(found) == [(None, False)] * 3


def test_sixteen_corners_on_the_page_are_no_offsets(tmp_path: Path) -> None:
    line = f"10,20,15,19,{FLAT}\n"
    assert claimants(label_file(tmp_path, "a.txt", line)) == {"icdar2015"}


def test_lines_that_are_no_words_are_told_with_the_others(tmp_path: Path) -> None:
    found = page(tmp_path, f"{FLAT},####a\n1,2,####b\n{FLAT},####c\nd\n", "a.txt")
    assert [len(points) for points in points_of(found)] == [14, 1, 14, 0]


def test_an_image_without_boxes_is_a_page_without_words(tmp_path: Path) -> None:
    found = page(tmp_path, '<Annotations><image file="7.jpg" /></Annotations>', "7.xml")
    assert (found.image, found.words) == ("7.jpg", {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", "<annotation><object/></annotation>"),
        ("a.xml", "<Annotations><page/></Annotations>"),
        ("a.xml", "<Annotations"),
        ("a.txt", "1,2,3,4,5,6,x,####a"),
        ("a.txt", "1,2,3,4,####a"),
    ],
)
def test_other_files_are_not_claimed(tmp_path: Path, name: str, content: str) -> None:
    assert "ctw1500" not in claimants(label_file(tmp_path, name, content))


@examples(100)
@given(st.sampled_from(["a.txt", "a.xml"]), st.text(alphabet="<>/abox=\"'1,.#-e\n", max_size=60))
def test_any_text_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: str
) -> None:
    survives(ctw1500, label_file(tmp_path_factory.getbasetemp(), name, content))


def test_words_of_an_image_within_an_image_count_once(tmp_path: Path) -> None:
    inner = f'<image file="b.jpg">{box("<label>a</label>")}</image>'
    content = f'<Annotations><image file="a.jpg">{inner}</image></Annotations>'
    assert told(page(tmp_path, content, "a.xml")) == [("a", False)]


def test_other_xml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.xml: not of CTW1500: must be <Annotations>"):
        list(ctw1500.read(label_file(tmp_path, "a.xml", "<annotation/>")))
