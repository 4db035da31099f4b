from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import given
from label_files import JSON, damaged, label_file, pages_of, points_of, survives, told

from detector.data.formats.aihub import aihub_textinthewild
from detector.data.labels.formats import claimants
from detector.data.raw.labelled import Labelled


def word(
    image: Any = 9, text: Any = "국수", kind: str = "word", box: Any = (10, 20, 30, 5)
) -> dict[str, Any]:
    box = list(box) if isinstance(box, tuple) else box
    return {"id": "1", "image_id": image, "text": text, "attributes": {"class": kind}, "bbox": box}


def image(key: Any = 9, name: str = "0A.jpg", **more: Any) -> dict[str, Any]:
    return {"id": key, "file_name": name, "width": 100, "height": 50, "type": "product"} | more


def whole(images: list[Any], words: list[Any]) -> dict[str, Any]:
    info = {"name": "Text in the wild Dataset"}
    return {"info": info, "images": images, "annotations": words, "licenses": []}


def pages(root: Path, content: Any) -> list[Labelled]:
    file = label_file(root, "textinthewild_data_info.json", content)
    assert claimants(file) == {"aihub_textinthewild"}
    return pages_of(aihub_textinthewild, file)


def test_letters_are_left_out_and_what_is_ignored_is_dont_care(tmp_path: Path) -> None:
    words = [
        word(text='a, "b"', box=(-4, "1", 8, 2)),
        word(text="a", kind="character"),
        word(text="b", kind="character"),
        word(text=None, kind="ignored"),
    ]
    (found,) = pages(tmp_path, whole([image()], words))
    assert points_of(found) == [
        [[-4, 1], [4, 1], [4, 3], [-4, 3]],
        [[10, 20], [40, 20], [40, 25], [10, 25]],
    ]
    assert told(found) == [('a, "b"', False), (None, True)]
    assert found.left_out == {"character": 2}
    assert (found.image, found.size) == ("Goods/0A.jpg", (100, 50))


def test_words_find_their_images_by_ids_of_either_type(tmp_path: Path) -> None:
    images = [image("1", "a.jpg"), image(2, "b.jpg"), image(3, "c.jpg")]
    found = pages(tmp_path, whole(images, [word(2, "x"), word(1, "y"), word("2", "z")]))
    assert [[text for text, _ in told(page)] for page in found] == [["y"], ["x", "z"], []]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("book", "book/0A.jpg"),
        ("sign", "Signboard/0A.jpg"),
        ("traffic sign", "Traffic_Sign/0A.jpg"),
        ("other", "0A.jpg"),
        (None, "0A.jpg"),
    ],
)
def test_the_folder_of_an_image_is_that_of_its_type(
    tmp_path: Path, kind: str | None, path: str
) -> None:
    (found,) = pages(tmp_path, whole([image(type=kind)], [word()]))
    assert found.image == path


def test_a_word_of_no_image_is_told_and_not_lost(tmp_path: Path) -> None:
    found = pages(tmp_path, whole([image()], [word(7)]))
    assert [(page.image, len(page.words)) for page in found] == [
        ("Goods/0A.jpg", 0),
        ("image_id 7", 1),
    ]


def test_images_without_any_words(tmp_path: Path) -> None:
    assert [page.words for page in pages(tmp_path, whole([image()], []))] == [{}]


@pytest.mark.parametrize(
    "content",
    [
        whole([image()], [word(kind="person")]),
        whole([image()], [word()]) | {"categories": []},
        whole([image()], []) | {"info": None},
        {"images": [], "annotations": {}},
    ],
)
def test_other_files_are_not_claimed(tmp_path: Path, content: Any) -> None:
    assert not aihub_textinthewild.claims(label_file(tmp_path, "a.json", content))


@examples(100)
@given(JSON | damaged(whole([image(), image(8)], [word(), word(8, kind="ignored")])))
def test_any_json_ends_in_pages_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    survives(aihub_textinthewild, label_file(tmp_path_factory.getbasetemp(), "w.json", content))
