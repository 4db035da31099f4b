"""COCO-Text, and TextOCR of the same frame: one JSON file (`imgs`, `anns` by id), of all splits.

Illegible words are don't-care; TextOCR writes `.` for their text. A legible word may have no text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.formats.datasets.coco import box_of_sides, pages
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import outline
from detector.data.raw.values import field, listed

SUFFIXES = (".json",)
_ILLEGIBLE_OF_TEXTOCR = "."


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    return isinstance(content, dict) and all(
        isinstance(content.get(key), dict) for key in ("imgs", "anns")
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    content = file.json
    if not claims(file):
        raise InputError(
            f"{file.path}: must be an object with the objects imgs and anns, as COCO-Text has; "
            f"got {shown(content)}"
        )
    owners = {
        str(key): image
        for image, keys in (content["imgToAnns"] if _has_lists(content) else {}).items()
        for key in listed(keys)
    }
    images = [_numbered(key, image, "id") for key, image in content["imgs"].items()]
    annotations = [
        _numbered(owners.get(key), annotation, "image_id")
        for key, annotation in content["anns"].items()
    ]
    yield from pages(file, images, annotations, _add)


def _has_lists(content: dict[str, Any]) -> bool:
    return isinstance(content.get("imgToAnns"), dict)


def _numbered(number: Any, value: Any, key: str) -> Any:
    """`value` with the number that other parts of the file give it, where it says none itself."""
    if not isinstance(value, dict) or value.get(key) is not None:
        return value
    return value | {key: number}


def _add(page: Labelled, annotation: dict[str, Any]) -> None:
    points = field(annotation, "mask", "polygon", "points")
    text = field(annotation, "utf8_string")
    illegible = annotation.get("legibility") == "illegible" or (
        "points" in annotation and text == _ILLEGIBLE_OF_TEXTOCR
    )
    page.add(
        outline(points) if points else box_of_sides(annotation.get("bbox")),
        text,
        ignore=illegible,
        language=annotation.get("language"),
    )
