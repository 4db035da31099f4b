from __future__ import annotations

import json
from pathlib import Path

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import labelme
from detector.data.raw.labelled import Labelled

QUAD = [[1, 2], [30, 2], [30, 12], [1, 12]]


def shape(label: object, **more: object) -> dict[str, object]:
    return {"label": label, "points": QUAD, "shape_type": "polygon", "flags": {}} | more


def whole(*shapes: object, **more: object) -> dict[str, object]:
    return {"version": "5.4.1", "shapes": list(shapes), "imagePath": "a.png", **more}


def page(root: Path, content: object, name: str = "a.json") -> Labelled:
    (found,) = pages_of(labelme, label_file(root, name, content))
    return found


def test_labels_are_the_texts_and_rectangles_have_any_two_corners(tmp_path: Path) -> None:
    box = shape('Tea, "hot"', shape_type="rectangle", points=[[40, 30], [10.5, 20]])
    found = page(tmp_path, whole(shape("홍차"), box, imageWidth=100, imageHeight=50))
    assert told(found) == [("홍차", False), ('Tea, "hot"', False)]
    assert points_of(found) == [QUAD, [[10.5, 20], [40, 20], [40, 30], [10.5, 30]]]
    assert (found.image, found.size, found.unit) == ("a.png", (100, 50), "pixel")


@pytest.mark.parametrize("label", ["text", "Word", "signboard"])
def test_descriptions_are_the_texts_of_classes(tmp_path: Path, label: str) -> None:
    shapes = [shape(label, description="Open"), shape(label, description=""), shape("illegible")]
    assert told(page(tmp_path, whole(*shapes))) == [("Open", False), ("", False), (None, True)]


def test_class_names_alone_are_no_texts(tmp_path: Path) -> None:
    assert told(page(tmp_path, whole(shape("text"), shape("text")))) == [(None, False)] * 2


def test_one_remark_does_not_make_texts_of_descriptions(tmp_path: Path) -> None:
    shapes = [shape("Soup"), shape("Rice", description="blurred"), shape("Fish")]
    texts = [text for text, _ in told(page(tmp_path, whole(*shapes)))]
    assert texts == ["Soup", "Rice", "Fish"]


def test_dont_care_by_flag_and_by_class(tmp_path: Path) -> None:
    shapes = [shape("###"), shape("a", flags={"ignore": True}), shape("Don't care"), shape("b")]
    assert [ignore for _, ignore in told(page(tmp_path, whole(*shapes)))] == [True] * 3 + [False]


def test_shapes_without_area_are_counted(tmp_path: Path) -> None:
    shapes = [shape("x", shape_type=kind) for kind in ("linestrip", "circle", "circle")]
    found = page(tmp_path, whole(*shapes, shape("y")))
    assert (len(found.words), found.left_out) == (1, {"linestrip": 1, "circle": 2})


def test_a_file_of_version_4_with_the_image_in_it(tmp_path: Path) -> None:
    old = {"label": "x", "line_color": None, "fill_color": None, "points": [["1", "2"]] * 4}
    content = {"version": "4.0.0", "flags": {}, "shapes": [old], "lineColor": [0, 255, 0, 128]}
    content |= {"imagePath": "..\\shots\\old.jpg", "imageData": "iVBORw0KGgo="}
    found = page(tmp_path, json.dumps(content).encode("utf-8-sig"), "sub/new.json")
    assert (found.image, found.others, found.size) == ("../shots/old.jpg", ("sub/new",), None)
    assert points_of(found) == [[[1, 2]] * 4]


def test_a_page_without_shapes_and_one_without_a_name_stay(tmp_path: Path) -> None:
    found = page(tmp_path, {"shapes": [], "version": "5.0.1", "imagePath": None}, "sub/b.json")
    assert (found.image, found.words) == ("sub/b", {})


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    shapes = [7, shape(5, points="no"), shape("x", shape_type="rectangle", points=[1, [2, 3]])]
    assert points_of(page(tmp_path, whole(*shapes))) == [7, "no", [1, [2, 3]]]


def test_other_json_is_refused(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.json", {"shapes": {}, "imagePath": "a.png"})
    assert not labelme.claims(file)
    with pytest.raises(InputError, match="a list `shapes`"):
        list(labelme.read(file))


@examples(100)
@given(JSON | damaged(whole(shape("x"), shape("y", shape_type="rectangle", points=QUAD[:2]))))
def test_any_json_ends_in_pages_or_one_message(tmp_path_factory, content: object) -> None:
    survives(labelme, label_file(tmp_path_factory.getbasetemp(), "labelme.json", content))
