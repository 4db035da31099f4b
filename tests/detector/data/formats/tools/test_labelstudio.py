from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import labelstudio
from detector.data.raw.labelled import Labelled

BOX = {"x": 10, "y": 20, "width": 40, "height": 30, "rotation": 0}


def result(kind: str, region: str = "r1", place: Any = BOX, **more: Any) -> dict[str, Any]:
    size = {"original_width": 200, "original_height": 100}
    return {"id": region, "type": kind, "value": {**place, **more}, **size}


def region(text: Any, label: str = "Text", name: str = "r1", place: Any = BOX) -> list[Any]:
    return [
        result("rectangle", name, place),
        result("labels", name, place, labels=[label]),
        result("textarea", name, place, text=[text]),
    ]


def task(*results: Any, image: str = "/data/upload/1/0a1b2c3d-a.png", **more: Any) -> Any:
    made = [{"id": 1, "result": list(results)}]
    return {"id": 5, "data": {"ocr": image}, "annotations": made} | more


def page(root: Path, content: Any) -> Labelled:
    (found,) = pages_of(labelstudio, label_file(root, "export.json", [content]))
    return found


def test_the_results_of_one_id_are_a_word_in_any_order(tmp_path: Path) -> None:
    other = {"points": [[0, 0], [50, 0], [50, 10], [0, 10]], "closed": True}
    results = [
        result("textarea", "r2", other, text=["둘"]),
        *region('One, "1"'),
        result("polygonlabels", "r2", other, polygonlabels=["Text"]),
    ]
    found = page(tmp_path, task(*results))
    assert told(found) == [("둘", False), ('One, "1"', False)]
    box = [[0.1, 0.2], [0.5, 0.2], [0.5, 0.5], [0.1, 0.5]]
    np.testing.assert_allclose(points_of(found), [[[0, 0], [0.5, 0], [0.5, 0.1], [0, 0.1]], box])
    assert (found.unit, found.size) == ("fraction", (200, 100))


@pytest.mark.parametrize(
    ("degrees", "right", "down"), [(90, [0, 1], [-1, 0]), (-90, [0, -1], [1, 0])]
)
def test_a_box_turns_clockwise_about_its_corner_in_pixels(
    tmp_path: Path, degrees: object, right: list[int], down: list[int]
) -> None:
    # the corner lies at (20, 20) px, the box has 80 x 30 px
    found = page(tmp_path, task(*region("a", place=BOX | {"rotation": degrees})))
    corner, along, across = np.array([20, 20]), 80 * np.array(right), 30 * np.array(down)
    pixels = [corner, corner + along, corner + along + across, corner + across]
    np.testing.assert_allclose(points_of(found)[0] * np.array([200, 100]), pixels, atol=1e-9)


def test_a_turned_box_of_an_image_of_unknown_size_is_no_outline(tmp_path: Path) -> None:
    turned = {"id": "r", "type": "rectangle", "value": BOX | {"rotation": 5}}
    assert points_of(page(tmp_path, task(turned))) == [turned["value"]]


def test_a_region_of_an_image_that_was_turned_in_the_tool_is_no_outline(tmp_path: Path) -> None:
    found = page(tmp_path, task(result("rectangle") | {"image_rotation": 90}))
    assert points_of(found) == ["image_rotation 90"]


def test_classes_and_choices_that_mean_dont_care(tmp_path: Path) -> None:
    chosen = [*region("c", name="r3"), result("choices", "r3", {}, choices=["illegible"])]
    found = page(tmp_path, task(*region("###", "Illegible"), *region("b", name="r2"), *chosen))
    assert told(found) == [("###", True), ("b", False), ("c", True)]


def test_several_lines_of_a_region_are_one_text(tmp_path: Path) -> None:
    found = page(tmp_path, task(result("rectangle"), result("textarea", text=["a", "b"])))
    assert told(found) == [("a\nb", False)]


def test_what_is_no_area_is_counted(tmp_path: Path) -> None:
    around = {"x": 1, "y": 2, "radiusX": 3, "radiusY": 4}
    about_all = {"type": "textarea", "id": "t", "value": {"text": ["a menu"]}}
    relation = {"type": "relation", "from_id": "r1", "to_id": "e", "direction": "right"}
    results = [
        result("ellipse", "e", around),
        result("labels", "e", around, labels=["Text"]),
        relation,
        about_all,
        *region("x"),
    ]
    found = page(tmp_path, task(*results))
    assert told(found) == [("x", False)]
    assert found.left_out == {"ellipse": 1, "relation": 1, "textarea": 1}


def test_the_newest_annotation_that_is_not_cancelled_counts(tmp_path: Path) -> None:
    made = [
        {"id": 1, "updated_at": "2024-03-02T00:00:00Z", "result": region("newest")},
        {"id": 2, "updated_at": "2024-03-01T00:00:00Z", "result": region("older")},
        {"id": 3, "updated_at": "2024-04-01T00:00:00Z", "was_cancelled": True, "result": []},
    ]
    found = page(tmp_path, task(annotations=made, predictions=[{"result": region("guess")}]))
    assert told(found) == [("newest", False)]
    assert found.left_out == {"older annotation": 1, "cancelled annotation": 1}


def test_annotations_without_a_time_go_by_their_numbers(tmp_path: Path) -> None:
    made = [{"id": n, "result": region(text)} for n, text in ((9, "a"), (10, "b"), (8, "c"))]
    assert told(page(tmp_path, task(annotations=made))) == [("b", False)]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([], "task without annotation"),
        ([{"was_cancelled": True, "result": region("x")}], "cancelled annotation"),
    ],
)
def test_a_task_without_a_live_annotation_is_unlabelled(
    tmp_path: Path, made: list[Any], reason: str
) -> None:
    found = page(tmp_path, task(annotations=made))
    assert (found.words, found.left_out, found.labelled) == ({}, {reason: 1}, False)


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("/data/upload/3/0a1b2c3d-%EB%B0%A5.png", ["/data/upload/3/0a1b2c3d-밥.png", "밥.png"]),
        ("/data/local-files/?d=my%20set/a%2Bb.png", ["my set/a+b.png", "a+b.png"]),
        ("http://host:80/data/local-files/?d=x/a.png", ["x/a.png", "a.png"]),
        ("s3://bucket/some/where/a b.jpg", ["some/where/a b.jpg", "a b.jpg"]),
        ("https://host/x/a.jpg?X-Amz-Date=1&b=2.png", ["x/a.jpg", "a.jpg"]),
        ("D:\\scans\\a.PNG", ["D:/scans/a.PNG", "a.PNG"]),
    ],
)
def test_names_of_images(tmp_path: Path, reference: str, names: list[str]) -> None:
    more = {"data": {"title": "a/b", "pic": reference}}
    found = page(tmp_path, task(**more))
    assert [name for name in (found.image, *found.others) if "%" not in name] == names


def test_an_upload_is_named_once_more(tmp_path: Path) -> None:
    found = page(tmp_path, task(image="/tasks/7/resolve/?x", file_upload="0a1b2c3d-a.png"))
    assert found.others == ("0a1b2c3d-a.png", "?x", "a.png")


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    places = [{"points": "no"}, {"x": "a", "y": 1, "width": 2, "height": 3}, {}]
    found = page(tmp_path, task(7, *(result("rectangle", str(n), p) for n, p in enumerate(places))))
    assert points_of(found) == [7, "no", ["a", 1, 2, 3], [None] * 4]


def test_numbers_may_be_text(tmp_path: Path) -> None:
    box = {key: str(value) for key, value in BOX.items()}
    np.testing.assert_allclose(
        points_of(page(tmp_path, task(*region("a", place=box)))),
        [[[0.1, 0.2], [0.5, 0.2], [0.5, 0.5], [0.1, 0.5]]],
    )


def test_other_json_is_refused(tmp_path: Path) -> None:
    file = label_file(tmp_path, "a.json", [task(), {"data": {"ocr": "a.png"}}])
    assert not labelstudio.claims(file)
    with pytest.raises(InputError, match="a list of tasks"):
        list(labelstudio.read(file))


@examples(100)
@given(JSON | damaged([task(*region("x"), result("polygon", "p", {"points": [[1, 2]] * 4}))]))
def test_any_json_ends_in_pages_or_one_message(tmp_path_factory, content: Any) -> None:
    survives(labelstudio, label_file(tmp_path_factory.getbasetemp(), "studio.json", content))
