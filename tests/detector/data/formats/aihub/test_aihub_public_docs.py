from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.data.formats.aihub import aihub_public_docs
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled


def word(text: Any = "접수", box: Any = (10, 20, 30, 5)) -> dict[str, Any]:
    box = list(box) if isinstance(box, tuple) else box
    return {"id": 1, "annotation.type": "rectangle", "annotation.text": text} | {
        "annotation.bbox": box
    }


def whole(*words: Any, **image: Any) -> dict[str, Any]:
    about = {"image.width": 100, "image.height": "50", "image.file.name": "1-2.jpg"}
    return {"images": [about | image], "annotations": list(words)}


def page(root: Path, content: Any) -> Labelled:
    file = label_file(root, "라벨링데이터/인.허가/1/1-2.json", content)
    assert claimants(file) == {"aihub_public_docs"}
    (found,) = pages_of(aihub_public_docs, file)
    return found


def test_the_keys_have_dots_and_ids_may_repeat(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word('1,000 "원"'), word("a", ("10", "20.5", "30", "5"))))
    assert points_of(found) == [
        [[10, 20], [40, 20], [40, 25], [10, 25]],
        [[10, 20.5], [40, 20.5], [40, 25.5], [10, 25.5]],
    ]
    assert told(found) == [('1,000 "원"', False), ("a", False)]
    assert (found.image, found.others, found.size) == ("1-2", ("1-2.jpg",), (100, "50"))


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word()) | {"images": []})
    assert (found.others, found.size) == ((), None)


def test_a_page_without_words(tmp_path: Path) -> None:
    assert page(tmp_path, whole()).words == {}


def test_boxes_that_are_none_are_told_with_the_words(tmp_path: Path) -> None:
    found = page(tmp_path, whole(word(box=[1, 2]), "a", word(box=[1, 2, 3, "b"])))
    assert points_of(found) == [[1, 2], None, [1, 2, 3, "b"]]


@pytest.mark.parametrize(
    "content",
    [None, {"images": [], "annotations": []}, {"images": [{"image": 1}]}, whole()["images"]],
)
def test_other_files_are_not_claimed(tmp_path: Path, content: Any) -> None:
    assert not aihub_public_docs.claims(label_file(tmp_path, "a.json", content))


@examples(100)
@given(JSON | damaged(whole(word(), word())))
def test_any_json_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    survives(aihub_public_docs, label_file(tmp_path_factory.getbasetemp(), "doc.json", content))
