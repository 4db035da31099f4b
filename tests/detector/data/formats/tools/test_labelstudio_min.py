from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import labelstudio_min
from detector.data.raw.labelled import Labelled

SIZE = {"original_width": 200, "original_height": 100}
END = {"annotator": 1, "annotation_id": 9, "updated_at": "2024-05-02T00:00:00Z", "lead_time": 3.5}


def box(x: float, **more: Any) -> dict[str, Any]:
    return {"x": x, "y": 10, "width": 20, "height": 30, "rotation": 0, **SIZE, **more}


def polygon(**more: Any) -> dict[str, Any]:
    return {"points": [[50, 0], [90, 0], [90, 20], [50, 20]], "closed": True, **SIZE, **more}


def classed(item: dict[str, Any], name: str = "Text") -> dict[str, Any]:
    return item | {"labels": [name]}


def task(**controls: Any) -> dict[str, Any]:
    return {"ocr": "/data/local-files/?d=set/a.png", "id": 3, **controls, **END}


def page(root: Path, *tasks: Any) -> Labelled:
    (found,) = pages_of(labelstudio_min, label_file(root, "min.json", list(tasks)))
    return found


def corners(x: float) -> list[list[float]]:
    """The box at `x` percent, in fractions."""
    return [[x, 0.1], [x + 0.2, 0.1], [x + 0.2, 0.4], [x, 0.4]]


def test_texts_go_by_the_order_of_the_classes(tmp_path: Path) -> None:
    found = page(
        tmp_path,
        task(
            bbox=[box(10), box(40)],
            poly=[polygon()],
            label=[classed(box(10)), classed(polygon()), classed(box(40), "Illegible")],
            transcription=["one", "둘", "###"],
        ),
    )
    assert told(found) == [("one", False), ("둘", False), ("###", True)]
    outline = [[0.5, 0], [0.9, 0], [0.9, 0.2], [0.5, 0.2]]
    np.testing.assert_allclose(points_of(found), [corners(0.1), outline, corners(0.4)])
    assert (found.image, found.others[-1], found.size) == ("set/a.png", "a.png", (200, 100))


def test_names_of_controls_are_free_and_labels_may_be_of_the_boxes(tmp_path: Path) -> None:
    regions = [box(10, rectanglelabels=["word"]), box(40, rectanglelabels=["ignore"])]
    found = page(tmp_path, task(quality="good", area=regions, zapis=["a", "b"]))
    assert told(found) == [("a", False), ("b", True)]


def test_boxes_without_classes_have_their_texts_in_order(tmp_path: Path) -> None:
    found = page(tmp_path, task(bbox=[box(10), box(40)], transcription=["a", "b"]))
    assert told(found) == [("a", False), ("b", False)]


def test_a_single_text_stands_without_its_list(tmp_path: Path) -> None:
    content = {"title": "a menu"} | task(bbox=[box(10)], label=[classed(box(10))], reading="a")
    assert told(page(tmp_path, content)) == [("a", False)]


def test_a_text_of_several_lines_has_its_place(tmp_path: Path) -> None:
    lines = box(10, text=["a", "b"])
    found = page(tmp_path, task(label=[classed(box(40)), classed(box(10))], text=["c", lines]))
    assert told(found) == [("c", False), ("a\nb", False)]


@pytest.mark.parametrize(
    "controls",
    [
        # a region without a text
        {"label": [classed(box(10)), classed(box(40))], "transcription": ["a"]},
        # a region without a class, and another one without a text
        {"bbox": [box(10), box(40)], "label": [classed(box(10))], "transcription": ["a"]},
        # two kinds of shapes, whose common order is in no list
        {"bbox": [box(10)], "poly": [polygon()], "transcription": ["a", "b"]},
    ],
)
def test_texts_whose_regions_are_unsure_are_counted(
    tmp_path: Path, controls: dict[str, Any]
) -> None:
    found = page(tmp_path, task(**controls))
    assert told(found) == [(None, False)] * 2
    assert found.left_out == {"text without a sure region": len(controls["transcription"])}


def test_a_text_with_its_place_is_sure_among_others_that_are_not(tmp_path: Path) -> None:
    regions = [classed(box(x)) for x in (10, 40, 70)]
    found = page(tmp_path, task(label=regions, transcription=[box(40, text=["a", "b"]), "c"]))
    assert [text for text, _ in told(found)] == [None, "a\nb", None]
    assert found.left_out == {"text without a sure region": 1}


def test_regions_of_other_shapes_are_counted_and_have_texts_of_their_own(tmp_path: Path) -> None:
    round_one = {"x": 1, "y": 2, "radiusX": 3, "radiusY": 4, "labels": ["Text"], **SIZE}
    found = page(tmp_path, task(label=[round_one, classed(box(10))], transcription=["a", "b"]))
    assert (told(found), found.left_out) == ([("b", False)], {"ellipse": 1})


def test_the_newest_record_of_a_task_counts(tmp_path: Path) -> None:
    new, old = (task(bbox=[box(10)], transcription=text) for text in ("new", "old"))
    old["updated_at"] = "2023-01-01T00:00:00Z"
    found = page(tmp_path, new, old)
    assert (told(found), found.left_out) == ([("new", False)], {"older annotation": 1})


def test_a_task_without_regions_stays(tmp_path: Path) -> None:
    found = page(tmp_path, task())
    assert (found.image, found.words, found.left_out) == ("set/a.png", {}, {})


def test_records_without_the_fields_of_an_export_are_known_by_their_regions(tmp_path: Path) -> None:
    found = page(tmp_path, {"image": "a.png", "bbox": [box(10)], "text": "x"})
    assert told(found) == [("x", False)]


@pytest.mark.parametrize("content", [[], [{"data": {}, "annotations": []}], [{"image": "a.png"}]])
def test_other_json_is_refused(tmp_path: Path, content: Any) -> None:
    file = label_file(tmp_path, "a.json", content)
    assert not labelstudio_min.claims(file)
    with pytest.raises(InputError, match="not a JSON-MIN export"):
        list(labelstudio_min.read(file))


@examples(100)
@given(JSON | damaged([task(bbox=[box(10)], label=[classed(box(10))], text=[box(10, text=["a"])])]))
def test_any_json_ends_in_pages_or_one_message(tmp_path_factory, content: Any) -> None:
    survives(labelstudio_min, label_file(tmp_path_factory.getbasetemp(), "min.json", content))
