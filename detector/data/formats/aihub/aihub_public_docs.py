"""AI Hub's public administration documents: a JSON file an image, with dots in its keys.

`images[0]["image.file.name"]` and `annotations[]["annotation.bbox"]`: left, top, width, height.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import box_of_sizes
from detector.data.raw.values import field, first_object, list_in

SUFFIXES = (".json",)


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    images, words = field(file.json, "images"), field(file.json, "annotations")
    if not isinstance(images, list) or not isinstance(words, list):
        return False
    return _has_dots(first_object(images), "image.") or _has_dots(
        first_object(words), "annotation."
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    image = first_object(field(file.json, "images"))
    size = field(image, "image.width"), field(image, "image.height")
    page = Labelled(
        file.name.with_suffix("").name,
        others=tuple(filter(None, [str(field(image, "image.file.name") or "")])),
        size=None if None in size else size,
    )
    for word in list_in(file, "annotations"):
        page.add(box_of_sizes(field(word, "annotation.bbox")), field(word, "annotation.text"))
    yield page


def _has_dots(value: dict[str, Any] | None, prefix: str) -> bool:
    return value is not None and any(key.startswith(prefix) for key in value)
