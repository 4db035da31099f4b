"""AWS Textract: a saved answer, or the list of its parts, beside an image of the same stem.

Its blocks of the type WORD are the words; lines, cells and forms point to the same ones. Points are
fractions of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.core.errors import InputError
from detector.core.escape import shown
from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled, by_stem
from detector.data.raw.shapes import box_of_size, numbers, outline
from detector.data.raw.values import field, first_object, nested

SUFFIXES = (".json",)
_SIDES = ("Left", "Top", "Width", "Height")


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    part = _first_part(file.json)
    block = first_object(part.get("Blocks")) or {}
    return isinstance(part.get("Blocks"), list) and (
        "BlockType" in block or "DocumentMetadata" in part
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The image of each page of the answer with its words."""
    content = file.json
    if "Blocks" not in _first_part(content):
        raise InputError(
            f"{file.path}: must be an object with the list Blocks, an answer of Textract, or a "
            f"list of such objects; got {shown(content)}"
        )
    parts = content if isinstance(content, list) else [content]
    blocks = list(nested(parts, "Blocks"))
    found = sorted({_page_number(block) for block in blocks}) or [1]
    told = [field(field(part, "DocumentMetadata"), "Pages") for part in parts]
    count = max(len(found), found[-1], *(n for n in told if isinstance(n, int)), 1)
    pages = {number: by_stem(file.name, number, count) for number in found}
    for block in blocks:
        _add(pages[_page_number(block)], block)
    for page in pages.values():
        page.unit = "fraction"
        yield page


def _first_part(content: Any) -> dict[str, Any]:
    return first_object(content if isinstance(content, list) else [content]) or {}


def _page_number(block: Any) -> int:
    """Which page a block is on; answers about one image may not say it."""
    number = numbers([field(block, "Page")])
    return int(number[0]) if number else 1


def _add(page: Labelled, block: Any) -> None:
    if not isinstance(block, dict):
        page.add(block)
        return
    kind = block.get("BlockType")
    if kind == "WORD":
        page.add(_points(block.get("Geometry")), block.get("Text"))
    elif kind != "PAGE":
        page.left_out[str(kind).lower()] += 1


def _points(geometry: Any) -> Any:
    """The polygon, which is tighter than the box, or the box."""
    polygon, box = field(geometry, "Polygon"), field(geometry, "BoundingBox")
    if polygon or not isinstance(box, dict):
        return outline(polygon)
    return box_of_size(*(box.get(side) for side in _SIDES))
