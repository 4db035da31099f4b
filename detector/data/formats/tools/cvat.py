"""CVAT for images 1.1: one XML file, `annotations` with an `image` each.

Boxes are turned clockwise about their centre. The text is an attribute whose name the project
chose; a checkbox or a label like `ignore` marks don't-care.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from detector.core.errors import InputError
from detector.data.raw.images import path_of
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.marks import is_dont_care, is_marked, text_name, used_text_name
from detector.data.raw.shapes import are_points, box_of_corners, points_of_text, turned

SUFFIXES = (".xml",)
_WORDS = ("box", "polygon")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format, also one of a video, which is refused when it is read."""
    root = file.xml
    return root.tag == "annotations" and any(
        root.find(tag) is not None for tag in ("image", "track", "meta")
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words; InputError for tracks of a video."""
    if not claims(file):
        raise InputError(f"{file.path}: not of CVAT for images: must be <annotations> of <image>s")
    if file.xml.find("track") is not None:
        raise InputError(
            f"{file.path}: holds tracks of a video, which name no images; export it from CVAT "
            "as 'CVAT for images 1.1'"
        )
    texts = _text_names(file.xml)
    for image in file.xml.findall("image"):
        size = image.get("width"), image.get("height")
        page = Labelled(path_of(image.get("name")), size=None if None in size else size)
        for shape in image:
            _add(page, shape, texts.get(shape.get("label", "")))
        yield page


def _text_names(root: Element) -> dict[str, str | None]:
    """The attribute with the text by label: of those declared as text, else of those used."""
    used: dict[str, list[Mapping[str, Any]]] = {}
    for shape in root.iterfind("image/*"):
        used.setdefault(shape.get("label", ""), []).append(_attributes(shape))
    declared = {
        label.findtext("name", ""): [
            attribute.findtext("name", "")
            for attribute in label.iterfind("attributes/attribute")
            if attribute.findtext("input_type", "text") == "text"
        ]
        for label in root.iterfind("meta//label")
    }
    return {
        label: text_name(declared[label]) if label in declared else used_text_name(attributes)
        for label, attributes in used.items()
    }


def _attributes(shape: Element) -> dict[str, str]:
    return {one.get("name", ""): one.text or "" for one in shape.iterfind("attribute")}


def _add(page: Labelled, shape: Element, text: str | None) -> None:
    if shape.tag not in _WORDS:
        page.left_out[shape.tag] += 1
        return
    points = _box(shape) if shape.tag == "box" else points_of_text(shape.get("points"))
    attributes = _attributes(shape)
    ignore = is_dont_care(shape.get("label")) or is_marked(attributes, text)
    page.add(points, attributes.get(text or ""), ignore=ignore)


def _box(box: Element) -> Any:
    points = box_of_corners(*(box.get(side) for side in ("xtl", "ytl", "xbr", "ybr")))
    if not are_points(points):
        return points
    (left, top), (right, bottom) = points[0], points[2]
    return turned(points, box.get("rotation", 0), ((left + right) / 2, (top + bottom) / 2))
