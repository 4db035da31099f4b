from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from label_files import label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import cvat
from detector.data.raw.labelled import Labelled

BOX = 'label="word" xtl="10.0" ytl="20.0" xbr="50.0" ybr="40.0"'


def attribute(name: str, value: str) -> str:
    return f'<attribute name="{name}">{value}</attribute>'


def label(name: str, **kinds: str) -> str:
    made = "".join(
        f"<attribute><name>{key}</name><input_type>{kind}</input_type></attribute>"
        for key, kind in kinds.items()
    )
    return f"<label><name>{name}</name><attributes>{made}</attributes></label>"


def whole(shapes: str, meta: str = "", image: str = 'name="a.png"') -> str:
    return (
        f'<?xml version="1.0"?><annotations><version>1.1</version><meta>{meta}</meta>'
        f"<image id='0' {image}>{shapes}</image></annotations>"
    )


def page(root: Path, content: str) -> Labelled:
    (found,) = pages_of(cvat, label_file(root, "annotations.xml", content))
    return found


def test_boxes_and_polygons_with_their_texts(tmp_path: Path) -> None:
    text = attribute("text", "Salt &amp; &quot;오이&quot;") + attribute("ignore", "false")
    outline = "1,2;30.5,2;30,12;1,12"
    shapes = f'<box {BOX}>{text}</box><polygon label="word" points="{outline}"></polygon>'
    found = page(tmp_path, whole(shapes, image='name="sub/a.png" width="99" height="60"'))
    assert told(found) == [('Salt & "오이"', False), (None, False)]
    assert points_of(found) == [
        [[10, 20], [50, 20], [50, 40], [10, 40]],
        [[1, 2], [30.5, 2], [30, 12], [1, 12]],
    ]
    assert (found.image, found.size) == ("sub/a.png", ("99", "60"))


def test_a_box_turns_clockwise_about_its_centre(tmp_path: Path) -> None:
    # the centre is (30, 30); 40 x 20 px become 20 x 40 px
    found = page(tmp_path, whole(f'<box {BOX} rotation="90.00"/>'))
    expected = [[40, 10], [40, 50], [20, 50], [20, 10]]
    np.testing.assert_allclose(points_of(found), [expected], atol=1e-9)


def test_a_rotation_that_is_no_number_leaves_no_outline(tmp_path: Path) -> None:
    assert points_of(page(tmp_path, whole(f'<box {BOX} rotation="much"/>'))) == ["much"]


@pytest.mark.parametrize("holder", ["task", "job", "project"])
def test_the_text_is_the_attribute_declared_as_text(tmp_path: Path, holder: str) -> None:
    labels = label("word", script="select", zapis="text", ignore="checkbox") + label("none")
    meta = f"<{holder}><labels>{labels}</labels></{holder}>"
    values = attribute("script", "latin") + attribute("zapis", "") + attribute("ignore", "true")
    shapes = f"<box {BOX}>{values}</box><box {BOX.replace('word', 'none')}/>"
    assert told(page(tmp_path, whole(shapes, meta))) == [("", True), (None, False)]


def test_each_label_has_its_own_attribute_with_the_text(tmp_path: Path) -> None:
    one = f"<box {BOX}>{attribute('text', 'a')}</box>"
    two = f"<box {BOX.replace('word', 'price')}>{attribute('amount', '9.50')}</box>"
    assert told(page(tmp_path, whole(one + two))) == [("a", False), ("9.50", False)]


def test_dont_care_by_label_and_by_text(tmp_path: Path) -> None:
    hidden = f'<box {BOX} occluded="1">{attribute("text", "a")}</box>'
    shapes = f"<box {BOX.replace('word', 'Illegible')}/>{hidden}"
    assert told(page(tmp_path, whole(shapes))) == [(None, True), ("a", False)]


def test_other_shapes_are_counted(tmp_path: Path) -> None:
    shapes = '<polyline label="word" points="1,2;3,4"/><mask label="word"/><tag label="x"/>' * 2
    found = page(tmp_path, whole(shapes))
    assert (found.words, found.left_out) == ({}, {"polyline": 2, "mask": 2, "tag": 2})


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    shapes = '<box xtl="1" ytl="a" xbr="3"/><polygon points="1,2;3"/><polygon/>'
    expected = [["1", "a", "3", None], [1, 2, 3], None]
    assert points_of(page(tmp_path, whole(shapes))) == expected


def test_the_tracks_of_a_video_are_refused(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.xml", "<annotations><meta/><track id='0'/></annotations>")
    assert cvat.claims(file)
    with pytest.raises(InputError, match="holds tracks of a video"):
        list(cvat.read(file))


def test_other_xml_is_refused(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.xml", "<annotation><image/></annotation>")
    assert not cvat.claims(file)
    with pytest.raises(InputError, match="must be <annotations>"):
        list(cvat.read(file))


@examples(100)
@given(st.text(alphabet="0123456789.,; -aeni"), st.text(alphabet="0123456789.-einf"))
def test_any_places_end_in_words_that_can_be_checked(
    tmp_path_factory, points: str, number: str
) -> None:
    box = f'<box xtl="{number}" ytl="1" xbr="9" ybr="9" rotation="{number}"/>'
    content = whole(f'<polygon points="{points}"/>{box}')
    survives(cvat, label_file(tmp_path_factory.getbasetemp(), "cvat.xml", content))
