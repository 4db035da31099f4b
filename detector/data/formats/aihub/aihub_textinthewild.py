"""AI Hub's Korean fonts, part "Text in the Wild": one JSON file of many images by their ids.

Of `annotations[]` the `attributes.class` is `word`, `ignored` (don't-care, without a text) or
`character`, a letter of a word, which is left out. Boxes are left, top, width and height.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import box_of_sizes
from detector.data.raw.values import field, list_in

SUFFIXES = (".json",)
_CLASSES = {"word", "character", "ignored"}
# Of each type of image; the file names have no folder.
_FOLDERS = {
    "book": "book",
    "product": "Goods",
    "sign": "Signboard",
    "traffic sign": "Traffic_Sign",
}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    images, words = field(file.json, "images"), field(file.json, "annotations")
    if not isinstance(images, list) or not isinstance(words, list) or "categories" in file.json:
        return False
    if not words:
        return "text in the wild" in str(field(field(file.json, "info"), "name")).lower()
    return any(_class(word) in _CLASSES for word in words)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words; a word of no image of the list has its own."""
    pages: dict[str, Labelled] = {}
    for image in list_in(file, "images"):
        pages[str(field(image, "id"))] = _page(image)
    for word in list_in(file, "annotations"):
        key = str(field(word, "image_id"))
        page = pages.setdefault(key, Labelled(f"image_id {key}"))
        kind = _class(word)
        if kind == "character":
            page.left_out["character"] += 1
            continue
        page.add(box_of_sizes(field(word, "bbox")), field(word, "text"), ignore=kind == "ignored")
    yield from pages.values()


def _class(word: Any) -> str:
    return str(field(field(word, "attributes"), "class")).lower()


def _page(image: Any) -> Labelled:
    name = str(field(image, "file_name") or f"id {field(image, 'id')}").replace("\\", "/")
    folder = _FOLDERS.get(str(field(image, "type")).lower())
    size = field(image, "width"), field(image, "height")
    return Labelled(
        f"{folder}/{name}" if folder and "/" not in name else name,
        size=None if None in size else size,
    )
