from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.tools import via
from detector.data.raw.labelled import Labelled

RECT = {"name": "rect", "x": 10, "y": "20", "width": 40, "height": 30}
POLYGON = {"name": "polygon", "all_points_x": [1, 30, 30, 1], "all_points_y": [2, 2, 12, 12]}


def region(shape: Any = RECT, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def entry(*regions: Any, name: str = "a.png", **more: Any) -> dict[str, Any]:
    return {f"{name}1003": {"filename": name, "size": 1003, "regions": list(regions)} | more}


def project(entries: Any, kinds: dict[str, str], folder: str = "") -> dict[str, Any]:
    declared = {name: {"type": kind} for name, kind in kinds.items()}
    return {
        "_via_settings": {"core": {"default_filepath": folder}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": declared, "file": {}},
    }


def page(root: Path, content: Any) -> Labelled:
    (found,) = pages_of(via, label_file(root, "via.json", content))
    return found


def test_a_project_with_a_folder_of_its_images(tmp_path: Path) -> None:
    regions = [region(read='밥, "hot"', ignore={}), region(POLYGON, read="", ignore={"yes": True})]
    kinds = {"style": "dropdown", "read": "text", "ignore": "checkbox"}
    found = page(tmp_path, project(entry(*regions), kinds, "pictures\\"))
    assert told(found) == [('밥, "hot"', False), ("", True)]
    assert points_of(found) == [
        [[10, 20], [50, 20], [50, 50], [10, 50]],
        [[1, 2], [30, 2], [30, 12], [1, 12]],
    ]
    assert (found.image, found.others) == ("pictures/a.png", ("a.png",))


def test_annotations_alone_with_regions_as_of_version_1(tmp_path: Path) -> None:
    regions = {"0": region(POLYGON, text="a", ignore="no"), "1": region(text="b", ignore="yes")}
    content = {"k": {"fileref": "", "size": -1, "filename": "https://host/x/a%20b.png?v=1"}}
    content["k"] |= {"base64_img_data": "", "file_attributes": {}, "regions": regions}
    found = page(tmp_path, content)
    assert told(found) == [("a", False), ("b", True)]
    assert found.image == "x/a b.png"


def test_shapes_without_area_are_counted(tmp_path: Path) -> None:
    kinds = ["circle", "ellipse", "point", "polyline", "circle"]
    found = page(tmp_path, entry(*(region({"name": kind}) for kind in kinds), region(text="x")))
    assert told(found) == [("x", False)]
    assert found.left_out == {"circle": 2, "ellipse": 1, "point": 1, "polyline": 1}


def test_options_that_mean_dont_care(tmp_path: Path) -> None:
    found = page(
        tmp_path,
        entry(region(text="a", kind="Illegible"), region(text="ignore", kind="sign"), region()),
    )
    assert told(found) == [("a", True), ("ignore", False), (None, False)]


def test_an_image_without_regions_stays(tmp_path: Path) -> None:
    content = entry(name="a.png") | entry(name="b.png", regions={})
    pages = pages_of(via, label_file(tmp_path, "via.json", content))
    assert [(found.image, found.words) for found in pages] == [("a.png", {}), ("b.png", {})]


def test_what_is_malformed_is_passed_on(tmp_path: Path) -> None:
    uneven = POLYGON | {"all_points_y": [2]}
    found = page(tmp_path, entry(7, region(uneven), region({"name": "rect", "x": "a"}), {"x": 1}))
    expected = [7, [[1, 30, 30, 1], [2]], ["a", None, None, None], {"x": 1}]
    assert points_of(found) == expected


@pytest.mark.parametrize("content", [{}, [], {"a": {"filename": "a.png"}}, {"a": 1}])
def test_other_json_is_refused(tmp_path: Path, content: Any) -> None:
    file = label_file(tmp_path, "a.json", content)
    assert not via.claims(file)
    with pytest.raises(InputError, match="not of VIA"):
        list(via.read(file))


@examples(100)
@given(JSON | damaged(project(entry(region(text="x"), region(POLYGON)), {"text": "text"})))
def test_any_json_ends_in_pages_or_one_message(tmp_path_factory, content: Any) -> None:
    survives(via, label_file(tmp_path_factory.getbasetemp(), "via.json", content))
