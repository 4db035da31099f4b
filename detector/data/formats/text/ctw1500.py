"""SCUT-CTW1500: lines of text as outlines, in the three ways in which they were published.

- Training: an XML file an image (`<image file>` with `<box>` of `<label>` and `<segs>`).
- Test: a text file an image, `x1,y1,...,x14,y14,####text` a line, named with zeros before it.
- The first version: 32 numbers a line, a box by two corners and 14 points from its corner.

A text `###` is don't-care; the authors mark what is not Latin so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from detector.core.errors import InputError
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.number_lines import is_dont_care, leading_numbers, mostly, page_of
from detector.data.raw.shapes import box_of_size, numbers, pairs

SUFFIXES = (".xml", ".txt")
OVER = ("icdar2015",)
_MARK = "####"
# How far the points of the first version may be outside their box.
_ROOM_PX = 5


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    if _is_xml(file):
        return file.xml.tag == "Annotations" and all(child.tag == "image" for child in file.xml)
    return mostly(file, _has_mark) or mostly(file, _is_first_version)


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    if _is_xml(file):
        yield from _read_xml(file)
        return
    page = page_of(file)
    for name in (page.image, *page.others):
        page.others += _without_zeros(name)
    first_version = mostly(file, _is_first_version)
    for _, line in file.lines:
        outline, mark, text = line.partition(_MARK)
        points = pairs(leading_numbers(outline))
        if first_version and len(points) == 16:
            left, top = points[0]
            points = [[left + x, top + y] for x, y in points[2:]]
        page.add(points, text if mark else None, ignore=is_dont_care(text))
    yield page


def _is_xml(file: LabelFile) -> bool:
    return file.path.suffix.lower() == ".xml"


def _without_zeros(name: str) -> tuple[str, ...]:
    """`0001003` names the image `1003`, the zeros of which are four digits."""
    return (name.lstrip("0").zfill(4),) if name.isdecimal() else ()


def _has_mark(line: str) -> bool:
    outline, mark, _ = line.partition(_MARK)
    count = len(leading_numbers(outline)) if mark else 0
    return count >= 8 and outline.rstrip(", ").count(",") == count - 1


def _is_first_version(line: str) -> bool:
    """Whether the line is a box and 14 points from its corner, all about within it."""
    values = leading_numbers(line) if line.rstrip(", ").count(",") == 31 else []
    if len(values) != 32:
        return False
    left, top, right, bottom, *offsets = values
    rooms = (right - left, offsets[::2]), (bottom - top, offsets[1::2])
    return all(
        size > 0 and min(found) >= -_ROOM_PX and max(found) <= size + _ROOM_PX
        for size, found in rooms
    )


def _read_xml(file: LabelFile) -> Iterator[Labelled]:
    if file.xml.tag != "Annotations":
        raise InputError(f"{file.path}: not of CTW1500: must be <Annotations> of <image>s")
    own_name = str(file.name.with_suffix(""))
    for image in file.xml.findall("image"):
        reference = PurePosixPath((image.get("file") or "").replace("\\", "/"))
        page = Labelled(str(reference), others=(own_name,))
        for box in image.iter("box"):
            text = box.findtext("label")
            page.add(_outline(box), text, ignore=is_dont_care(text))
        yield page


def _outline(box: Element) -> Any:
    written = box.findtext("segs")
    if written is None:
        return box_of_size(*(box.get(key) for key in ("left", "top", "width", "height")))
    values = numbers(written.replace(",", " ").split())
    return written if values is None else pairs(values)
