"""AI Hub's outdoor Korean text images: a JSON file an image, named like it, `text` and `bbox`.

Boxes are left, top, width and height. The text `xxx` is don't-care; a word whose box has no
numbers was deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import box_of_sizes
from detector.data.raw.values import field, first_object, list_in

SUFFIXES = (".json",)
_DONT_CARE = "xxx"
_ORIENTATIONS = {"가로": "Horizontal", "세로": "Vertical"}
# Words with one of these are of other formats that have images, annotations and boxes.
_OTHERS = {"attributes", "category_id", "segmentation", "polygons"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    images, words = field(content, "images"), field(content, "annotations")
    if not isinstance(images, list) or not isinstance(words, list) or "categories" in content:
        return False
    if field(first_object(field(content, "metadata")), "wordorientation") is not None:
        return True
    word = first_object(words) or {}
    return len(images) == 1 and {"text", "bbox"} <= word.keys() and not _OTHERS & word.keys()


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    content = file.json
    image = first_object(field(content, "images"))
    size = field(image, "width"), field(image, "height")
    page = Labelled(
        file.name.with_suffix("").name,
        others=tuple(filter(None, [str(field(image, "file_name") or "").replace("\\", "/")])),
        size=None if None in size else size,
    )
    written = field(first_object(field(content, "metadata")), "wordorientation")
    orientation = None if written is None else _ORIENTATIONS.get(str(written), "Irregular")
    for word in list_in(file, "annotations"):
        if isinstance(word, dict) and _is_deleted(word.get("bbox")):
            page.left_out["deleted word"] += 1
            continue
        text = field(word, "text")
        page.add(
            box_of_sizes(field(word, "bbox")),
            text,
            ignore=text == _DONT_CARE,
            orientation=orientation,
        )
    yield page


def _is_deleted(box: Any) -> bool:
    return box is None or (isinstance(box, list) and (len(box) < 4 or None in box))
