from __future__ import annotations

from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import pascal_voc
from detector.data.labels.formats import label_files
from detector.data.raw.labelled import Labelled

BOX = "<bndbox><ymax>40.5</ymax><xmin>10</xmin><xmax>50</xmax><ymin>20</ymin></bndbox>"


def item(inside: str = BOX, name: str = "text") -> str:
    return f"<object><name>{name}</name>{inside}</object>"


def attribute(name: str, value: str) -> str:
    return f"<attribute><name>{name}</name><value>{value}</value></attribute>"


def page(root: Path, objects: str, name: str = "Annotations/b.xml", head: str = "") -> Labelled:
    head = head or "<filename>old.jpg</filename>"
    content = f"<annotation>{head}{objects}</annotation>".encode("utf-8-sig")
    (found,) = pages_of(pascal_voc, label_file(root, name, content))
    return found


def test_boxes_as_written_with_children_in_any_order(tmp_path: Path) -> None:
    found = page(tmp_path, item())
    assert points_of(found) == [[[10, 20], [50, 20], [50, 40.5], [10, 40.5]]]
    assert told(found) == [(None, False)]


def test_the_image_is_that_of_the_same_stem_before_what_the_file_says(tmp_path: Path) -> None:
    head = "<filename>old.JPG</filename><path>C:\\x\\y.png</path>"
    head += "<size><width>160</width><height>100</height></size>"
    found = page(tmp_path, "", head=head)
    assert found.image == "Annotations/b.JPG"
    assert found.others == ("Annotations/b", "old.JPG", "C:/x/y.png")
    assert (found.size, found.words) == (("160", "100"), {})


def test_difficult_is_dont_care_and_truncated_and_occluded_are_not(tmp_path: Path) -> None:
    objects = item(f"<difficult> 1 </difficult>{BOX}") + item(name="ignore")
    objects += item(f"<truncated>1</truncated><occluded>1</occluded><difficult>0</difficult>{BOX}")
    assert told(page(tmp_path, objects)) == [(None, True), (None, True), (None, False)]


def test_the_text_is_an_attribute(tmp_path: Path) -> None:
    more = attribute("rotation", "0.0") + attribute("text", "Figs, &quot;무화과&quot;")
    one = item(f"{BOX}<attributes>{more}</attributes>")
    two = item(f"{BOX}<attributes>{attribute('illegible', 'true')}</attributes>")
    assert told(page(tmp_path, one + two)) == [('Figs, "무화과"', False), (None, True)]


def test_parts_are_counted_and_have_boxes_of_their_own(tmp_path: Path) -> None:
    part = f"<part><name>head</name>{BOX.replace('10', '11')}</part>"
    found = page(tmp_path, item(part + BOX) + item(part + part))
    assert points_of(found)[0][0] == [10, 20]
    assert points_of(found)[1] == [None] * 4
    assert found.left_out == {"part": 3}


def test_lists_of_splits_are_no_labels(tmp_path: Path) -> None:
    label_file(tmp_path, "ImageSets/Main/train.txt", "b\n")
    label_file(tmp_path, "labelmap.txt", "# label:color_rgb:parts:actions\n")
    label_file(tmp_path, "Annotations/b.xml", "<annotation><size/></annotation>")
    assert [str(file.name) for file in label_files(tmp_path)] == ["Annotations/b.xml"]


@pytest.mark.parametrize("content", ["<annotations/>", "<annotation><other/></annotation>", "no"])
def test_other_xml_is_refused(tmp_path: Path, content: str) -> None:
    file = label_file(tmp_path, "a.xml", content)
    with pytest.raises(InputError, match=r"a\.xml: not "):
        list(pascal_voc.read(file))


@examples(100)
@given(st.text(alphabet="0123456789.-einf "), st.text(alphabet="01 truefals"))
def test_any_values_end_in_words_that_can_be_checked(
    tmp_path_factory, number: str, difficult: str
) -> None:
    inside = f"<difficult>{difficult}</difficult>{BOX.replace('40.5', number)}"
    content = f"<annotation>{item(inside)}</annotation>"
    survives(pascal_voc, label_file(tmp_path_factory.getbasetemp(), "voc.xml", content))
