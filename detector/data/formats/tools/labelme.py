"""LabelMe: a JSON file an image (`shapes` with `points`, `imagePath`).

The text is the description where there is one, else the label; a file whose labels are but a few
class names (`text`, `word`) has no text in them. Points belong to the upright image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detector.data.raw.label_file import LabelFile
from detector.data.raw.labelled import Labelled
from detector.data.raw.shapes import box_of_corners

SUFFIXES = (".json",)
_NO_AREA = {"point", "points", "line", "linestrip", "circle", "mask"}


def claims(file: LabelFile) -> bool:
    """Whether the file is of this format."""
    content = file.json
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and ("imagePath" in content or "version" in content)
    )


def read(file: LabelFile) -> Iterator[Labelled]:
    """The images of the file with their words."""
    content = file.json
    size = content.get("imageWidth"), content.get("imageHeight")
    page = Labelled(
        str(content.get("imagePath") or file.name.with_suffix("")).replace("\\", "/"),
        size=None if None in size else size,
    )
    for shape in content["shapes"]:
        _add(page, shape)
    yield page


def _add(page: Labelled, shape: Any) -> None:
    if not isinstance(shape, dict):
        page.add(shape)
        return
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind in _NO_AREA:
        page.left_out[kind] += 1
        return
    if kind == "rectangle" and isinstance(points, list) and len(points) == 2:
        corners = [p if isinstance(p, list) and len(p) == 2 else [p, p] for p in points]
        points = box_of_corners(*corners[0], *corners[1])
    flags = shape.get("flags")
    ignore = bool(isinstance(flags, dict) and flags.get("ignore"))
    page.add(points, shape.get("description") or shape.get("label"), ignore=ignore)
