from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.data.formats.aihub import aihub_outdoor
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled


def word(text: Any = "횟집", box: Any = (10, 20, 30, 5)) -> dict[str, Any]:
    box = list(box) if isinstance(box, tuple) else box
    return {"id": 1, "image_id": 1, "text": text, "bbox": box}


def whole(*words: Any, direction: str = "가로") -> dict[str, Any]:
    return {
        "images": [{"id": 1, "width": 100, "height": 50, "file_name": "d:\\old\\b.jpg"}],
        "annotations": list(words),
        "metadata": [{"wordorientation": direction}],
    }


def page(root: Path, content: Any) -> Labelled:
    file = label_file(root, "[라벨]/간판_1.json", content)
    assert claimants(file) == {"aihub_outdoor"}
    (found,) = pages_of(aihub_outdoor, file)
    return found


def test_boxes_have_a_corner_and_a_size(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word("1층, 2층"), word("xxx"), word("a", ("-3", "1", "8", "2"))))
    assert points_of(found)[0] == [[10, 20], [40, 20], [40, 25], [10, 25]]
    assert points_of(found)[2] == [[-3, 1], [5, 1], [5, 3], [-3, 3]]
    assert told(found) == [("1층, 2층", False), ("xxx", True), ("a", False)]
    assert (found.image, found.others, found.size) == ("간판_1", ("d:/old/b.jpg",), (100, 50))


@pytest.mark.parametrize("box", [None, [], [1, 2, 3], [None, None, None, None], [1, 2, 3, None]])
def test_deleted_words_are_left_out_and_counted(tmp_path: Path, box: Any) -> None:
    found = page(tmp_path, whole(word(), word(box=box)))
    assert len(found.words) == 1
    assert found.left_out == {"deleted word": 1}


@pytest.mark.parametrize(
    ("direction", "orientation"),
    [("가로", "Horizontal"), ("세로", "Vertical"), ("기타", "Irregular")],
)
def test_the_orientation_is_that_of_the_image(
    tmp_path: Path, direction: str, orientation: str
) -> None:
    found = page(tmp_path, whole(word(), direction=direction))
    assert found.words["0001"]["orientation"] == orientation


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    content = whole(word())
    del content["metadata"]
    content["images"] = [{}]
    found = page(tmp_path, content)
    assert (found.size, found.others, len(found.words)) == (None, (), 1)
    assert "orientation" not in found.words["0001"]


def test_a_page_without_words(tmp_path: Path) -> None:
    assert page(tmp_path, whole()).words == {}


def test_boxes_that_are_none_are_told_with_the_words(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word(), word(box="1,2"), "a", word(box=[1, 2, 3, 4, 5])))
    assert points_of(found)[1:] == ["1,2", None, [1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    "more",
    [
        {"categories": []},
        {"images": [{}, {}], "metadata": []},
        {"annotations": [{"bbox": [1, 2, 3, 4]}], "metadata": []},
        {"annotations": [word() | {"category_id": 1}], "metadata": None},
        {"annotations": {}},
    ],
)
def test_other_files_are_not_claimed(tmp_path: Path, more: dict[str, Any]) -> None:
    assert not aihub_outdoor.claims(label_file(tmp_path, "a.json", whole(word()) | more))


@examples(100)
@given(JSON | damaged(whole(word(), word("xxx"), word(box=[1, None]))))
def test_any_json_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    survives(aihub_outdoor, label_file(tmp_path_factory.getbasetemp(), "out.json", content))
