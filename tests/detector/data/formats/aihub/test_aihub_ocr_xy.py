from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.core.errors import InputError
from detector.data.formats.aihub import aihub_ocr_xy
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled


def word(text: Any = "보험", xs: Any = (1, 2, 30, 31), ys: Any = (5, 15, 4, 14)) -> dict[str, Any]:
    return {"data": text, "id": 1, "x": list(xs), "y": list(ys)}


def whole(*words: Any, **image: Any) -> dict[str, Any]:
    about = {"identifier": "F_7", "type": "png", "width": 100, "height": 50}
    return {"Images": about | image, "Annotation": {}, "Dataset": {}, "bbox": list(words)}


def page(root: Path, content: Any) -> Labelled:
    file = label_file(root, "라벨/F_0.7.json", content)
    assert claimants(file) == {"aihub_ocr_xy"}
    (found,) = pages_of(aihub_ocr_xy, file)
    return found


def test_the_third_corner_comes_second(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word('1,000 "원"'), word("", ("1", "2", "30", "31"))))
    clockwise = [[1, 5], [30, 4], [31, 14], [2, 15]]
    assert points_of(found) == [clockwise] * 2
    assert told(found) == [('1,000 "원"', False), ("", False)]
    assert (found.image, found.others, found.size) == ("F_0.7", ("F_7",), (100, 50))


def test_sizes_and_images_may_be_missing(tmp_path: Path) -> None:
    content = whole(word())
    del content["Images"]
    found = page(tmp_path, content)
    assert (found.size, found.others) == (None, ())
    assert page(tmp_path, whole(word(), height=None)).size is None


def test_a_page_without_words(tmp_path: Path) -> None:
    assert page(tmp_path, whole()).words == {}


def test_corners_that_are_none_are_told_with_the_words(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word(), word(xs=(1, 2)), "a", word(xs=(1, 2, 3, "b"))))
    assert len(found.words) == 4
    assert points_of(found)[2] == "a"
    assert points_of(found)[3] == [[1, 5], [3, 4], ["b", 14], [2, 15]]


@pytest.mark.parametrize("content", [[], {"bbox": [1, 2, 3, 4]}, {"bbox": []}, {"bbox": [{}]}])
def test_other_files_are_not_claimed(tmp_path: Path, content: Any) -> None:
    assert not aihub_ocr_xy.claims(label_file(tmp_path, "a.json", content))


def test_a_file_without_the_list_of_words_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json: must be an object with a list bbox, got None"):
        list(aihub_ocr_xy.read(label_file(tmp_path, "a.json", {"Images": {}})))


@examples(100)
@given(JSON | damaged(whole(word(), word())))
def test_any_json_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    survives(aihub_ocr_xy, label_file(tmp_path_factory.getbasetemp(), "xy.json", content))
