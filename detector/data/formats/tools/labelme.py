"""LabelMe: a JSON file an image (`shapes` with `points`, `imagePath`).

Labels are the texts, or they are classes and the descriptions are the texts: the labels of a file
are taken together to tell. Points belong to the upright image.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detector.core.errors import InputError
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.marks import is_dont_care, is_marked, is_set
from detector.data.raw.shapes import are_points, box_of_corners, points_of
from detector.data.raw.written import beside, json_text, leave_out

SUFFIXES = (".json",)
FOLDER = True
_NO_AREA = {"point", "points", "line", "linestrip", "circle", "mask"}
_CLASSES = {
    *("text", "texts", "word", "words", "line", "lines", "textline", "text_line", "text-line"),
    *("textbox", "text_box", "textregion", "text_region", "sentence", "paragraph", "block"),
    *("char", "character", "ocr", "object", "region", "polygon", "box", "label"),
    *("글자", "단어", "문자", "문장", "텍스트"),
}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return False
    return not content.keys().isdisjoint({"imagePath", "version", "imageData", "imageHeight"})


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    if not claims(file):
        raise InputError(f"{file.path}: not of LabelMe: must have a list `shapes` and `imagePath`")
    content, stem = file.json, str(file.name.with_suffix(""))
    size = content.get("imageWidth"), content.get("imageHeight")
    page = Labelled(
        path_of(content.get("imagePath")) or stem,
        others=(stem,),
        size=None if None in size else size,
    )
    described = _labels_are_classes(content["shapes"])
    for shape in content["shapes"]:
        _add(page, shape, "description" if described else "label")
    yield page


def write(pages: Sequence[Labelled], output: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """A file an image, which it names by the way from the file to the image.

    The label is `text` and the description is the text, since labels may be either; don't-care
    words have the flag `ignore`.
    """
    for page in pages:
        leave_out(page, "language", "orientation")
        file = beside(page, output, "{}.json")
        width, height = page.size or (None, None)
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_shape(word) for word in page.words.values()],
            "imagePath": Path(os.path.relpath(root / page.image, file.parent)).as_posix(),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        yield file, json_text(content) + "\n"


def _shape(word: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": "text",
        "points": word["points"],
        "group_id": None,
        "description": word["transcription"],
        "shape_type": "polygon",
        "flags": {"ignore": True} if word["ignore"] else {},
    }


def _labels_are_classes(shapes: Sequence[Any]) -> bool:
    """Whether the texts of a file are not the labels: those are names of classes, or many areas
    have a description, or few different labels go with some."""
    areas = [s for s in shapes if isinstance(s, dict) and _kind(s) not in _NO_AREA]
    labels = [str(s.get("label")) for s in areas if not is_dont_care(s.get("label"))]
    described = sum(bool(s.get("description")) for s in areas)
    if labels and all(label.strip().casefold() in _CLASSES for label in labels):
        return True
    few = 2 * len(set(labels)) <= len(labels)
    return described > 0 and (few or 2 * described >= len(areas))


def _add(page: Labelled, shape: Any, text_key: str) -> None:
    if not isinstance(shape, dict):
        page.add(shape)
        return
    kind, points = _kind(shape), shape.get("points")
    if kind in _NO_AREA:
        page.left_out[kind] += 1
        return
    points = points_of(points)
    if kind == "rectangle" and isinstance(points, list) and len(points) == 2 and are_points(points):
        points = box_of_corners(*points[0], *points[1])
    marked = is_dont_care(shape.get("label")) or is_marked(shape.get("flags"))
    ignore = marked or is_set(shape.get("difficult"))
    page.add(points, shape.get(text_key), ignore=ignore)


def _kind(shape: dict[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")
