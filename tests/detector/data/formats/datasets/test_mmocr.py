from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_values import assert_told, claimed_by, pages_of, spoiled, told

from detector.core.errors import InputError
from detector.data.formats.datasets import mmocr

BOX = [[1, 2], [9, 2], [9, 6], [1, 6]]
FLAT = [1, 2, 9, 2, 9, 6, 1, 6]
SET = {
    "metainfo": {"dataset_type": "TextDetDataset", "task_name": "textdet"},
    "data_list": [
        {
            "img_path": "textdet_imgs\\a.jpg",
            "width": 40,
            "height": "30",
            "instances": [
                {"polygon": FLAT, "bbox": [0, 0, 1, 1], "bbox_label": 0, "ignore": False},
                {"polygon": FLAT, "ignore": True, "text": "###"},
                {"bbox": [1, 2, 9, 6], "ignore": "true", "text": "a"},
                {"polygon": [], "bbox": ["1", "2", "9", "6"]},
            ],
        },
        {"img_path": "b.jpg", "instances": []},
    ],
}


def test_polygons_or_boxes_by_two_corners() -> None:
    first, second = pages_of(mmocr, "textdet_train.json", SET)
    assert (first.image, first.size) == ("textdet_imgs/a.jpg", (40, 30))
    assert told(first) == [
        (BOX, None, False),
        (BOX, "###", True),
        (BOX, "a", True),
        (BOX, None, False),
    ]
    assert (second.image, second.words, second.labelled) == ("b.jpg", {}, True)


def test_what_is_no_page_or_unlabelled_is_told() -> None:
    content = {
        "data_list": [{"instances": []}, {"img_path": "b.jpg"}, {"img_path": "c", "instances": 3}]
    }
    bad, unlabelled, odd = pages_of(mmocr, "a.json", content)
    assert (bad.image, bad.faults[0][1]) == ("data_list[0]", "bad-page")
    assert not unlabelled.labelled
    assert told(odd) == [(3, None, False)]


@pytest.mark.parametrize("content", [SET, {"metainfo": {}, "data_list": []}])
def test_its_files_are_claimed(content: Any) -> None:
    assert claimed_by("a.json", content) == {"mmocr"}


@pytest.mark.parametrize(
    "content",
    [
        SET | {"metainfo": {"task_name": "textrecog"}},
        SET | {"metainfo": {"dataset_type": "TextRecogDataset"}},
        {"data_list": []},
        {"data_list": [{"file": "a"}], "metainfo": {}},
        [],
    ],
)
def test_others_are_not_claimed(content: Any) -> None:
    assert claimed_by("a.json", content) == set()


def test_a_file_of_another_shape_is_told() -> None:
    with pytest.raises(InputError, match=r"a\.json: must be an object with the list data_list"):
        pages_of(mmocr, "a.json", [])


@given(spoiled(SET))
@examples(100)
def test_wrong_values_anywhere_are_told(content: Any) -> None:
    assert_told(mmocr, "a.json", content)
